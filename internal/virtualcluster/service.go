package virtualcluster

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

const (
	servicePort      = 443
	controlPlanePort = 6443
	portName         = "https"
)

func renderService(vc *clusterv1alpha1.VirtualCluster) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: controlMeta(vc, serviceName),
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeClusterIP,
			Selector: podSelector(),
			Ports: []corev1.ServicePort{{
				Name: portName, Protocol: corev1.ProtocolTCP, Port: servicePort, TargetPort: intstr.FromInt32(controlPlanePort),
			}},
			// With one replica there is no better address to send a client to, and the agent, which asks /readyz itself, need
			// not wait for the kubelet's probe.
			PublishNotReadyAddresses: vc.Spec.Replicas == 1,
		},
	}
}

package node

import (
	"context"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	kubeletapp "k8s.io/kubernetes/cmd/kubelet/app"
	kubeletoptions "k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/network"
	"github.com/matryoshka-dev/matryoshka/internal/host/pki"
)

// maxPods fits the address range of a node's pods, a /22.
const maxPods = 500

func runKubelet(ctx context.Context, node place, files pki.Files, fence fence) error {
	server, err := kubeletServer(node, files)
	if err != nil {
		return err
	}
	// Two hosts on one machine must not tidy up each other's links to logs.
	kubelet.ContainerLogsDir = node.layout.Data("container-logs")
	dependencies, err := kubeletapp.UnsecuredDependencies(ctx, server, utilfeature.DefaultFeatureGate)
	if err != nil {
		return fmt.Errorf("dependencies of the kubelet: %w", err)
	}
	checkFence := fenceRuntime(dependencies, fence)
	if err := kubeletapp.Run(ctx, server, dependencies, utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	if err := checkFence(); err != nil {
		return err
	}
	// It returns at once when it has started everything.
	<-ctx.Done()
	return nil
}

func kubeletServer(node place, files pki.Files) (*kubeletoptions.KubeletServer, error) {
	layout := node.layout
	server, err := kubeletoptions.NewKubeletServer()
	if err != nil {
		return nil, fmt.Errorf("make the options of the kubelet: %w", err)
	}
	server.KubeConfig = files.Kubeconfig(node.kubelet)
	server.HostnameOverride = node.name
	server.NodeIP = node.address.String()
	server.RootDirectory = layout.Data("kubelet")
	server.CertDirectory = layout.Data("kubelet", "pki")

	c := &server.KubeletConfiguration
	c.ContainerRuntimeEndpoint = "unix://" + layout.ContainerdSocket()
	c.VolumePluginDir = layout.Data("kubelet", "volume-plugins")
	c.PodLogsDir = layout.Data("pod-logs")
	c.CgroupRoot = layout.CgroupRoot()
	c.CgroupDriver = "cgroupfs"
	c.FailCgroupV1 = false
	// There is no controller for it; see the flags of the controller manager.
	c.EnableControllerAttachDetach = false
	c.FailSwapOn = false
	c.MaxPods = maxPods
	// The machine's firewall is none of ours, and the namespace has nothing that needs the kubelet's chains.
	c.MakeIPTablesUtilChains = false
	c.Address = node.address.String()
	c.Port = network.KubeletPort
	c.ReadOnlyPort = 0
	c.HealthzPort = 0
	c.Authentication.X509.ClientCAFile = files.CA()
	c.Authentication.Webhook.Enabled = true
	c.Authentication.Anonymous.Enabled = false
	c.Authorization.Mode = kubeletconfig.KubeletAuthorizationModeWebhook
	c.TLSCertFile = files.KubeletCert(node.kubelet)
	c.TLSPrivateKeyFile = files.KubeletKey(node.kubelet)
	c.ClusterDomain = ClusterDomain
	c.ClusterDNS = []string{network.DNSService.String()}
	c.ResolverConfig = layout.Run("resolv.conf")
	c.SerializeImagePulls = false
	// Images are imported; what is thrown away could not be pulled again.
	c.ImageGCHighThresholdPercent = 100
	c.EvictionHard = map[string]string{
		"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%",
		"nodefs.inodesFree": "1%", "imagefs.inodesFree": "1%",
	}
	c.NodeStatusUpdateFrequency = metav1.Duration{Duration: 10 * time.Second}
	return server, nil
}

// writeResolverConfig writes what pods with DNS policy Default and pods in the node's network see.
func writeResolverConfig(layout control.Layout) error {
	content := "nameserver " + network.DNSService.String() + "\n"
	if err := os.WriteFile(layout.Run("resolv.conf"), []byte(content), 0o644); err != nil {
		return fmt.Errorf("write the resolver configuration: %w", err)
	}
	return nil
}

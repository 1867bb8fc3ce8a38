package node

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/internal/host/network"
)

// The Service of the agent, whose front door is published on 127.0.0.1 of the machine.
const (
	agentNamespace = "matryoshka-system"
	agentService   = "matryoshka-agent"
	frontDoorPort  = "front-door"
)

// forward publishes the API server and the front door until ctx ends.
func forward(ctx context.Context, config Config, client kubernetes.Interface) error {
	var both sync.WaitGroup
	both.Go(func() {
		network.Forward(ctx, config.API, func(ctx context.Context) (net.Conn, error) {
			return dial(ctx, net.JoinHostPort(network.NodeAddress.String(), strconv.Itoa(network.APIPort)))
		}, config.Logger)
	})
	both.Go(func() {
		network.Forward(ctx, config.FrontDoor, func(ctx context.Context) (net.Conn, error) {
			address, err := frontDoorAddress(ctx, client)
			if err != nil {
				return nil, err
			}
			return dial(ctx, address)
		}, config.Logger)
	})
	both.Wait()
	return nil
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp4", address)
}

// frontDoorAddress asks for every connection: the agent may be installed, removed and installed again.
func frontDoorAddress(ctx context.Context, client kubernetes.Interface) (string, error) {
	service, err := client.CoreV1().Services(agentNamespace).Get(ctx, agentService, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("find the front door: %w", err)
	}
	for _, port := range service.Spec.Ports {
		if port.Name == frontDoorPort {
			return net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(port.Port))), nil
		}
	}
	return "", fmt.Errorf("find the front door: Service %s/%s has no port %q", agentNamespace, agentService, frontDoorPort)
}

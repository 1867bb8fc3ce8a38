package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/types"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/kubernetes/pkg/kubelet"
)

// fenceTimeout bounds the wait for network policies. The kubelet tries again later.
const fenceTimeout = 10 * time.Second

// fence returns when the network policies hold for a pod at an address.
type fence func(ctx context.Context, pod types.UID, address netip.Addr) error

// fencedRuntime creates no container in a pod before the network policies hold for it. The API learns the pod's address only
// when its containers run, which would leave a pod without its policies for about a second.
type fencedRuntime struct {
	internalapi.RuntimeService
	fence fence
}

// CreateContainer waits, then creates.
func (r fencedRuntime) CreateContainer(ctx context.Context, sandboxID string, container *runtimeapi.ContainerConfig, sandbox *runtimeapi.PodSandboxConfig) (string, error) {
	if err := r.waitForPolicies(ctx, sandboxID, sandbox); err != nil {
		return "", err
	}
	return r.RuntimeService.CreateContainer(ctx, sandboxID, container, sandbox)
}

func (r fencedRuntime) waitForPolicies(ctx context.Context, sandboxID string, sandbox *runtimeapi.PodSandboxConfig) error {
	if sandbox.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE {
		return nil // It has the node's address, and policies are not about that.
	}
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	response, err := r.PodSandboxStatus(ctx, sandboxID, false)
	if err != nil {
		return fmt.Errorf("read the address of the pod for its network policies: %w", err)
	}
	address, err := netip.ParseAddr(response.GetStatus().GetNetwork().GetIp())
	if err != nil {
		return fmt.Errorf("read the address of the pod for its network policies: %w", err)
	}
	return r.fence(ctx, types.UID(sandbox.GetMetadata().GetUid()), address)
}

// fenceRuntime puts the fence into the kubelet's client of the runtime. The kubelet makes that client itself, in the midst of
// its start; setting its out-of-memory score is the last that it asks of its dependencies before it uses the client. The
// returned function says whether it has come to that.
func fenceRuntime(dependencies *kubelet.Dependencies, fence fence) (check func() error) {
	fenced := false
	dependencies.OOMAdjuster.ApplyOOMScoreAdj = func(int, int) error {
		// The score itself stays: lowering it needs a capability that containers and small virtual machines often lack.
		if runtime := dependencies.RemoteRuntimeService; runtime != nil {
			dependencies.RemoteRuntimeService, fenced = fencedRuntime{runtime, fence}, true
		}
		return nil
	}
	return func() error {
		if !fenced {
			return errors.New("the kubelet has not let network policies be enforced before containers start; this Kubernetes version starts it in another order")
		}
		return nil
	}
}

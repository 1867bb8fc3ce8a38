package node

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/util/oom"
)

// fakeRuntime has one sandbox and notes what is created in it.
type fakeRuntime struct {
	internalapi.RuntimeService
	address string
	created int
}

func (r *fakeRuntime) PodSandboxStatus(context.Context, string, bool) (*runtimeapi.PodSandboxStatusResponse, error) {
	return &runtimeapi.PodSandboxStatusResponse{Status: &runtimeapi.PodSandboxStatus{
		Network: &runtimeapi.PodSandboxNetworkStatus{Ip: r.address},
	}}, nil
}

func (r *fakeRuntime) CreateContainer(context.Context, string, *runtimeapi.ContainerConfig, *runtimeapi.PodSandboxConfig) (string, error) {
	r.created++
	return "container", nil
}

func TestContainersWaitForNetworkPolicies(t *testing.T) {
	sandbox := func(mode runtimeapi.NamespaceMode) *runtimeapi.PodSandboxConfig {
		return &runtimeapi.PodSandboxConfig{
			Metadata: &runtimeapi.PodSandboxMetadata{Uid: "u1"},
			Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{Network: mode},
			}},
		}
	}
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		mode    runtimeapi.NamespaceMode
		address string
		fence   error
		want    bool
	}{
		"fenced":                    {runtimeapi.NamespaceMode_POD, "10.244.0.2", nil, true},
		"not fenced":                {runtimeapi.NamespaceMode_POD, "10.244.0.2", refused, false},
		"without an address":        {runtimeapi.NamespaceMode_POD, "", nil, false},
		"in the node's own network": {runtimeapi.NamespaceMode_NODE, "", refused, true},
	} {
		t.Run(name, func(t *testing.T) {
			runtime := &fakeRuntime{address: c.address}
			fenced := fencedRuntime{runtime, func(_ context.Context, pod types.UID, address netip.Addr) error {
				if runtime.created > 0 || pod != "u1" || address.String() != c.address {
					t.Errorf("fence of pod %s at %s, with %d containers", pod, address, runtime.created)
				}
				return c.fence
			}}
			_, err := fenced.CreateContainer(t.Context(), "sandbox", nil, sandbox(c.mode))
			if got := runtime.created == 1; got != c.want || got != (err == nil) {
				t.Errorf("container created: %v (%v), want %v", got, err, c.want)
			}
		})
	}
}

// The kubelet of another Kubernetes version may not come by. That must be seen, and not leave pods without a fence.
func TestMissingFenceIsAnError(t *testing.T) {
	dependencies := &kubelet.Dependencies{OOMAdjuster: oom.NewOOMAdjuster()}
	check := fenceRuntime(dependencies, nil)
	if check() == nil {
		t.Error("no error though the kubelet has not set its score")
	}
	if err := dependencies.OOMAdjuster.ApplyOOMScoreAdj(0, 0); err != nil || check() == nil {
		t.Errorf("no error though the kubelet has no client of the runtime yet (%v)", err)
	}
	dependencies.RemoteRuntimeService = &fakeRuntime{}
	if err := dependencies.OOMAdjuster.ApplyOOMScoreAdj(0, 0); err != nil {
		t.Fatal(err)
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	if _, isFenced := dependencies.RemoteRuntimeService.(fencedRuntime); !isFenced {
		t.Errorf("the kubelet's client of the runtime is %T", dependencies.RemoteRuntimeService)
	}
}

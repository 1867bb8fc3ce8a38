package networkpolicy

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/knftables"

	"github.com/matryoshka-dev/matryoshka/internal/host/network"
)

// inNamespace gives the test a network namespace of its own.
func inNamespace(t *testing.T) (path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs nft")
	}
	path = filepath.Join(t.TempDir(), "netns")
	if _, err := network.Ensure(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return path
}

func TestKernelTakesTheRules(t *testing.T) {
	path := inNamespace(t)
	state := testState(t,
		`{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{from: [{namespaceSelector: {}}], ports: [{port: http}, {port: 1, endPort: 9}, {protocol: SCTP, port: 7}, {protocol: UDP}]}]}`,
		`{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.7/8, except: [10.1.0.0/16]}}, {ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: http}]}, {}]}`,
	)
	err := network.Inside(path, func() error {
		nft, err := knftables.New(knftables.IPv4Family, tableName)
		if err != nil {
			return err
		}
		// Twice: the second time there is a table to replace. Then without policies.
		for _, s := range []State{state, state, testState(t)} {
			tx := nft.NewTransaction()
			render(Compile(s), tx)
			if err := nft.Run(t.Context(), tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestControllerFollowsTheAPI(t *testing.T) {
	path := inNamespace(t)
	client := fake.NewClientset(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a"}},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web"}, Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: webAddress.String()}},
	)
	nft, err := knftables.New(knftables.IPv4Family, tableName)
	if err != nil {
		t.Fatal(err)
	}
	controller, err := newController(client, insideNFT{nft, path}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- controller.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	policies := client.NetworkingV1().NetworkPolicies("a")
	policy := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "deny"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
	}
	if _, err := policies.Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitForRules(t, path, func(rules string) bool { return strings.Contains(rules, webAddress.String()+" : goto pods-ingress-") })
	if err := policies.Delete(ctx, "deny", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waitForRules(t, path, func(rules string) bool { return !strings.Contains(rules, tableName) })
}

func waitForRules(t *testing.T, path string, wanted func(string) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var rules string
		err := network.Inside(path, func() error {
			output, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
			rules = string(output)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if wanted(rules) {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("the rules are\n%s", rules)
		case <-tick.C:
		}
	}
}

// insideNFT runs transactions in another network namespace than the process'.
type insideNFT struct {
	knftables.Interface
	path string
}

func (i insideNFT) Run(ctx context.Context, tx *knftables.Transaction) error {
	return network.Inside(i.path, func() error { return i.Interface.Run(ctx, tx) })
}

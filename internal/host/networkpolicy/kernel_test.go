package networkpolicy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
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
	if _, err := network.Ensure(t.Context(), path); err != nil {
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
		`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{ports: [{port: 1}, {port: 3, endPort: 5}, {port: 65535}]}]}`,
		// More exceptions than the kernel takes comparisons in a rule.
		`{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [`+manyBlocks(300)+`]}}]}]}`,
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
			renderAll(Compile(s), tx)
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

// Whatever the steps, the table must be as if it had been made at once.
func TestChangesLeadToTheSameTable(t *testing.T) {
	stepped, whole := inNamespace(t), inNamespace(t)
	policies := []string{
		`{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{from: [{namespaceSelector: {}}], ports: [{port: http}, {port: 1, endPort: 9}]}]}`,
		`{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.3.0.0/16]}}]}]}`,
		`{podSelector: {matchLabels: {app: client}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}`,
	}
	random := rand.New(rand.NewPCG(1, 2))
	var before *Ruleset
	for step := range 40 {
		state := testState(t, policies...)
		state.Policies = slices.DeleteFunc(state.Policies, func(*networkingv1.NetworkPolicy) bool { return random.IntN(3) == 0 })
		state.Pods = slices.DeleteFunc(state.Pods, func(Pod) bool { return random.IntN(4) == 0 })
		for i := range state.Pods {
			if random.IntN(4) == 0 {
				state.Pods[i].Labels = map[string]string{"app": []string{"web", "client"}[random.IntN(2)]}
			}
		}
		after := Compile(state)
		applyInside(t, stepped, before, after)
		applyInside(t, whole, nil, after)
		if diff := cmp.Diff(blocks(rulesInside(t, whole)), blocks(rulesInside(t, stepped))); diff != "" {
			t.Fatalf("step %d: the table differs from one made at once (-once +stepped):\n%s", step, diff)
		}
		before = &after
	}
}

func applyInside(t *testing.T, path string, before *Ruleset, after Ruleset) {
	t.Helper()
	nft, err := knftables.New(knftables.IPv4Family, tableName)
	if err != nil {
		t.Fatal(err)
	}
	tx := nft.NewTransaction()
	render(before, after, tx)
	if err := (insideNFT{nft, path}).Run(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
}

// blocks are the sets, maps and chains of a listing: their order does not matter.
func blocks(listing string) []string {
	_, body, _ := strings.Cut(listing, "comment ")
	_, body, _ = strings.Cut(body, "\n")
	all := strings.SplitAfter(body, "\n\t}\n")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	slices.Sort(all)
	return all
}

func manyBlocks(count int) string {
	var blocks []string
	for i := range count {
		blocks = append(blocks, fmt.Sprintf("172.16.%d.%d/32", i/256, i%256))
	}
	return strings.Join(blocks, ", ")
}

func TestControllerFollowsTheAPI(t *testing.T) {
	path := inNamespace(t)
	client := fake.NewClientset(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a"}},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web"}, Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: webAddress.String()}},
	)
	ctx, _ := runController(t, path, client)
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

// runController runs one until the end of the test.
func runController(t *testing.T, path string, client kubernetes.Interface) (context.Context, *Controller) {
	t.Helper()
	nft, err := knftables.New(knftables.IPv4Family, tableName)
	if err != nil {
		t.Fatal(err)
	}
	controller, err := newController(client, insideNFT{nft, path}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- controller.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ctx, controller
}

// The API learns a pod's address when its containers run. The rules must know it before.
func TestPodIsFencedBeforeTheAPIKnowsItsAddress(t *testing.T) {
	path := inNamespace(t)
	policy := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "deny"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
	}
	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, policy)
	ctx, controller := runController(t, path, client)
	isFenced := func(rules string) bool { return strings.Contains(rules, webAddress.String()+" : goto pods-ingress-") }

	// The runtime may be faster than the cache: the pod is created after the wait has begun.
	fenced := make(chan error, 1)
	go func() { fenced <- controller.Fence(ctx, "u1", webAddress) }()
	pods := client.CoreV1().Pods("a")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web", UID: "u1"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
	pod, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-fenced; err != nil {
		t.Fatal(err)
	}
	if rules := rulesInside(t, path); !isFenced(rules) {
		t.Fatalf("the pod is said to be fenced, and the rules are\n%s", rules)
	}
	// A second container of the pod finds the rules in force.
	if err := controller.Fence(ctx, "u1", webAddress); err != nil {
		t.Fatal(err)
	}
	// A new sandbox has a new address, and the API still shows the old one.
	pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, webAddress.String()
	if _, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := controller.Fence(ctx, "u1", otherAddress); err != nil {
		t.Fatal(err)
	}
	if rules := rulesInside(t, path); !strings.Contains(rules, otherAddress.String()+" : goto pods-ingress-") || isFenced(rules) {
		t.Fatalf("the pod has the address %s now, and the rules are\n%s", otherAddress, rules)
	}
}

func TestFenceOfAPodThatIsNotThereIsAnError(t *testing.T) {
	_, controller := runController(t, inNamespace(t), fake.NewClientset())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := controller.Fence(ctx, "gone", webAddress); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that the time is over", err)
	}
	if len(controller.fences.waiting) != 0 {
		t.Error("the wait is remembered after its end")
	}
}

func rulesInside(t *testing.T, path string) (rules string) {
	t.Helper()
	err := network.Inside(path, func() error {
		output, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
		rules = string(output)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func waitForRules(t *testing.T, path string, wanted func(string) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		rules := rulesInside(t, path)
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

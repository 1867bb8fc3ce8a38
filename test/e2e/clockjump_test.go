package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/testenv/clockjump"
)

// The clock of one process jumps two hours ahead of all others and then two hours behind them, first the control plane's, then
// the agent's. What users do goes on, and what was made in a wrong time is good, or made anew, when the time is right again.
//
// It runs alone: what other tests do goes through the agent.
func TestClockJumps(t *testing.T) {
	v := newTenant(t, shared, "e2e-clocks", "clocks")
	const namespace = "rollouts"
	v.mustKubectl(t, "create", "namespace", namespace)
	v.apply(t, namespace, testdata(t, "rollout.yaml"))
	v.rolledOut(t, namespace, "")

	controlPlane := controlPlaneProcesses(t, v)
	setClocks(t, controlPlane, 2*time.Hour)
	early := v.works(t, namespace, "control-plane-ahead")
	setClocks(t, controlPlane, -2*time.Hour)
	v.works(t, namespace, "control-plane-behind")
	setClocks(t, controlPlane, 0)

	agents := agentProcesses(t, v.host)
	setClocks(t, agents, 2*time.Hour)
	v.works(t, namespace, "agent-ahead")
	other := newTenant(t, shared, "e2e-clocks", "ahead")
	other.works(t, "", "agent-ahead")
	setClocks(t, agents, -2*time.Hour)
	v.works(t, namespace, "agent-behind")
	v.refuses(t, early)

	// The next ones have the right clock, and know of the first ones what these wrote.
	killAgents(t, v.host)
	v.works(t, namespace, "all-right")
	other.works(t, "", "all-right")
	v.hasNewToken(t, early)
	v.deleteCompletely(t, namespace)
}

// setClocks lets processes have a clock that is wrong by so much, at most until the test ends.
func setClocks(t *testing.T, pids []int, ahead time.Duration) {
	t.Helper()
	for _, pid := range pids {
		if err := clockjump.Set(pid, ahead); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = clockjump.Set(pid, 0) }) // it may have been killed
	}
}

func agentProcesses(t *testing.T, h *host) (pids []int) {
	t.Helper()
	for _, pod := range agentPods(t, h) {
		found, err := processesOfPod(pod.UID, "agent")
		if err != nil || len(found) == 0 {
			t.Fatalf("the process of pod %q is not found: %v", pod.Name, err)
		}
		pids = append(pids, found...)
	}
	return pids
}

// credential is the token that a pod was given.
type credential struct {
	pod   *corev1.Pod
	token string
}

// works checks what users do: a new pod, its log, a command in it, and the tenant's API with its token; and a rollout if there is a
// namespace for it.
func (v *tenant) works(t *testing.T, rollouts, round string) credential {
	t.Helper()
	start := time.Now()
	if rollouts != "" {
		v.rollOut(t, rollouts, round)
		v.rolledOut(t, rollouts, round)
	}
	const namespace = metav1.NamespaceDefault
	v.mustKubectl(t, "run", round, "-n", namespace, "--image", withImages("IMAGE(busybox)"),
		"--overrides", `{"spec":{"terminationGracePeriodSeconds":1}}`, "--", "sh", "-c", "echo started; exec sleep infinity")
	pod := v.podReady(t, namespace, round)
	// It is Ready when its process has started, which is a moment before that says so.
	eventually(t, startTimeout, func(ctx context.Context) error {
		seen := v.kubectl(ctx, "logs", "-n", namespace, round)
		if seen.err == nil && seen.stdout != "started\n" {
			return fmt.Errorf("%s: the log is %q", round, seen.stdout)
		}
		return seen.err
	})
	token := v.mustRead(t, "-n", namespace, round, "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token")
	if err := v.accepts(t.Context(), token); err != nil {
		t.Errorf("%s: the token of a new pod: %v", round, err)
	}
	t.Logf("%s: all works after %s", round, time.Since(start).Round(100*time.Millisecond))
	return credential{pod: pod, token: token}
}

// accepts asks the tenant's API server who the owner of a token is.
func (v *tenant) accepts(ctx context.Context, token string) error {
	config := rest.AnonymousClientConfig(v.config)
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if got := review.Status.UserInfo.Username; got != "system:serviceaccount:default:default" {
		return fmt.Errorf("it is that of %q", got)
	}
	return nil
}

// refuses waits until a token from the future is refused: the API server remembers for some seconds whom it has accepted.
func (v *tenant) refuses(t *testing.T, early credential) {
	t.Helper()
	eventually(t, time.Minute, func(ctx context.Context) error {
		if err := v.accepts(ctx, early.token); !apierrors.IsUnauthorized(err) {
			return errors.Join(errors.New("a token from the future is not refused"), err)
		}
		return nil
	})
}

// hasNewToken waits until the host has a token for the pod that is good now. The kubelet shows it to the pod within two minutes.
func (v *tenant) hasNewToken(t *testing.T, early credential) {
	t.Helper()
	hostNamespace := mapping.HostNamespace(v.id, early.pod.Namespace)
	host := v.host.client(t)
	eventually(t, time.Minute, func(ctx context.Context) error {
		secret, err := host.CoreV1().Secrets(hostNamespace).Get(ctx, "matryoshka-pod-"+string(early.pod.UID), metav1.GetOptions{})
		if err != nil {
			return err
		}
		return v.accepts(ctx, string(secret.Data["token-0"]))
	})
}

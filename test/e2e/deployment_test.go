package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What a pod learns from the API is the tenant's: its names, its ConfigMaps, its Secrets.
func TestDeploymentSeesItsConfiguration(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "config")
	v.apply(t, namespace, testdata(t, "deployment.yaml"))
	v.deploymentReady(t, namespace, "web")
	pod := v.onlyPod(t, namespace, "app=web")

	environment := v.mustRead(t, "-n", namespace, pod.Name, "-c", "web", "--", "env")
	for _, want := range []string{
		"COLOUR=green", "PASSWORD=swordfish", "POD_NAME=" + pod.Name, "POD_NAMESPACE=" + namespace,
		"POD_IP=" + pod.Status.PodIP, "POD_UID=" + string(pod.UID), "NODE_NAME=" + pod.Spec.NodeName,
		"SERVICE_ACCOUNT=default", "TIER=front", "MEMORY=64",
	} {
		if !slices.Contains(strings.Split(environment, "\n"), want) {
			t.Errorf("the environment lacks %s:\n%s", want, environment)
		}
	}
	if strings.Contains(environment, "ABSENT=") {
		t.Errorf("an optional key that does not exist is set:\n%s", environment)
	}
	if strings.Contains(environment, v.id) {
		t.Errorf("the environment shows the name of the host namespace:\n%s", environment)
	}

	for file, want := range map[string]string{
		"/etc/settings/sub/file.conf": "mode = calm\n",
		"/etc/login/password":         "swordfish",
		"/etc/all/colour":             "green",
		"/etc/all/namespace":          namespace,
		"/scratch/prepared":           "prepared\n",
		"/var/run/secrets/kubernetes.io/serviceaccount/namespace": namespace,
	} {
		if got := v.mustRead(t, "-n", namespace, pod.Name, "-c", "web", "--", "cat", file); got != want {
			t.Errorf("%s holds %q, want %q", file, got, want)
		}
	}
	labels := v.mustRead(t, "-n", namespace, pod.Name, "-c", "web", "--", "cat", "/etc/all/labels")
	if !strings.Contains(labels, `tier="front"`) || strings.Contains(labels, "matryoshka.dev/") {
		t.Errorf("the downward API gives the labels %s; want those of the tenant's pod only", labels)
	}
}

// A ConfigMap that changes reaches the running pod, as it does on every Kubernetes.
func TestConfigMapUpdateReachesThePod(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "config-update")
	v.apply(t, namespace, testdata(t, "deployment.yaml"))
	v.deploymentReady(t, namespace, "web")
	pod := v.onlyPod(t, namespace, "app=web")

	v.mustKubectl(t, "patch", "-n", namespace, "configmap", "settings", "--type=merge", "-p", `{"data":{"colour":"blue"}}`)
	// The kubelet looks at volumes about once a minute.
	eventuallyEvery(t, time.Second, 3*time.Minute, func(ctx context.Context) error {
		seen := v.kubectl(ctx, "exec", "-n", namespace, pod.Name, "-c", "web", "--", "cat", "/etc/all/colour")
		if seen.err != nil {
			return seen.err
		}
		if seen.stdout != "blue" {
			return fmt.Errorf("the file holds %q, want blue", seen.stdout)
		}
		return nil
	})
}

// A token that lives ten minutes is the tenant's own, has the audience that was asked for, and is replaced by a fresh
// one before it ends. This takes more than half of the life of a token; it runs beside the other tests.
func TestTokenIsTheTenantsAndIsRefreshed(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "token")
	v.apply(t, namespace, testdata(t, "deployment.yaml"))
	v.deploymentReady(t, namespace, "web")
	pod := v.onlyPod(t, namespace, "app=web")
	readToken := func(ctx context.Context) (string, error) {
		seen := v.read(ctx, "-n", namespace, pod.Name, "-c", "web", "--", "cat", "/etc/all/token")
		return seen.stdout, seen.err
	}

	first := v.mustRead(t, "-n", namespace, pod.Name, "-c", "web", "--", "cat", "/etc/all/token")
	claims := tokenClaims(t, first)
	if life := claims.Expires - claims.Issued; life != 600 {
		t.Errorf("the token lives %d s, want 600", life)
	}
	if !slices.Equal(claims.Audience, []string{"vault"}) {
		t.Errorf("the token's audience is %q, want vault", claims.Audience)
	}
	if claims.Kubernetes.Pod.UID != string(pod.UID) || claims.Kubernetes.Namespace != namespace {
		t.Errorf("the token is bound to pod %+v in %q, want %s", claims.Kubernetes.Pod, claims.Kubernetes.Namespace, pod.UID)
	}
	v.checkToken(t, first, namespace)

	var second string
	eventuallyEvery(t, 5*time.Second, 8*time.Minute, func(ctx context.Context) (err error) {
		if second, err = readToken(ctx); err != nil {
			return err
		}
		if second == first {
			return fmt.Errorf("the token is still the first one, which ends at %s", time.Unix(claims.Expires, 0))
		}
		return nil
	})
	v.checkToken(t, second, namespace)
}

type serviceAccountClaims struct {
	Audience   []string `json:"aud"`
	Issued     int64    `json:"iat"`
	Expires    int64    `json:"exp"`
	Kubernetes struct {
		Namespace string `json:"namespace"`
		Pod       struct {
			UID string `json:"uid"`
		} `json:"pod"`
	} `json:"kubernetes.io"`
}

// tokenClaims reads a token without checking its signature; checkToken has the API server do that.
func tokenClaims(t *testing.T, token string) serviceAccountClaims {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("a token has 3 parts, this has %d", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims serviceAccountClaims
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// checkToken asks both API servers: the tenant's knows the token, the host's does not.
func (v *tenant) checkToken(t *testing.T, token, namespace string) {
	t.Helper()
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{"vault"}}}
	mine, err := v.client.AuthenticationV1().TokenReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := "system:serviceaccount:" + namespace + ":default"; !mine.Status.Authenticated || mine.Status.User.Username != want {
		t.Errorf("the tenant's API server says %+v, want %s", mine.Status, want)
	}
	theirs, err := v.host.client(t).AuthenticationV1().TokenReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if theirs.Status.Authenticated {
		t.Error(errors.New("the host's API server accepts a token of the tenant"))
	}
}

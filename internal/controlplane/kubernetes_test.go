package controlplane_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

// TestKubernetes checks on one control plane what a tenant expects of a cluster.
func TestKubernetes(t *testing.T) {
	cp, client := start(t, config.ControlPlane{
		PKIDirectory: testenv.NewPKI(t), Store: config.Store{Type: config.StoreMemory}, ServiceRanges: []string{"10.96.0.0/16"},
	})
	t.Cleanup(func() { stop(t, cp) })
	admin := cp.ClientConfig()

	t.Run("anonymous requests reach the health endpoints only", func(t *testing.T) { anonymous(t, admin) })
	t.Run("a ServiceAccount token works and carries what was asked", func(t *testing.T) { serviceAccountToken(t, client, admin) })
	t.Run("the keys of tokens are found by the issuer's name", func(t *testing.T) { issuerDiscovery(t, client) })
	t.Run("a certificate request is signed by the client CA", func(t *testing.T) { certificateRequest(t, client, admin) })
	t.Run("a Deployment makes pods with token and CA", func(t *testing.T) { deployment(t, client) })
	t.Run("server-side apply", func(t *testing.T) { apply(t, client) })
	t.Run("OpenAPI of built-in and custom kinds", func(t *testing.T) { openAPI(t, client, admin) })
	t.Run("bootstrap policy and priority classes", func(t *testing.T) { bootstrapObjects(t, client) })
}

func anonymous(t *testing.T, admin *rest.Config) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/healthz": 200, "/version": 401, "/api": 401, "/metrics": 401, "/openapi/v2": 401} {
		response, err := client.Get(admin.Host + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil || response.StatusCode != want {
			t.Errorf("%s: %d, want %d (%v)", path, response.StatusCode, want, err)
		}
	}
}

func serviceAccountToken(t *testing.T, client kubernetes.Interface, admin *rest.Config) {
	var token *authenticationv1.TokenRequest
	eventually(t, "the token", func() (err error) {
		seconds := int64(600)
		token, err = client.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "default",
			&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
		return err
	})
	// ES256 is the header {"alg":"ES256"... in base64.
	if !strings.HasPrefix(token.Status.Token, "eyJhbGciOiJFUzI1NiIs") {
		t.Error("the token is not signed with ES256")
	}
	anonymous := rest.AnonymousClientConfig(admin)
	anonymous.BearerToken = token.Status.Token
	review, err := kubernetes.NewForConfigOrDie(anonymous).AuthenticationV1().SelfSubjectReviews().Create(t.Context(),
		&authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil || review.Status.UserInfo.Username != "system:serviceaccount:default:default" {
		t.Errorf("review: %v, %v", review, err)
	}
	_, err = kubernetes.NewForConfigOrDie(anonymous).CoreV1().Secrets("kube-system").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("the default ServiceAccount may list secrets: %v", err)
	}
}

// issuerDiscovery: who finds the issuer by its name finds its keys there, too. An address would need this process' own port.
func issuerDiscovery(t *testing.T, client kubernetes.Interface) {
	var discovery struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	answer, err := client.CoreV1().RESTClient().Get().AbsPath("/.well-known/openid-configuration").DoRaw(t.Context())
	if err == nil {
		err = json.Unmarshal(answer, &discovery)
	}
	if err != nil || discovery.Issuer != "https://kubernetes.default.svc.cluster.local" || discovery.Keys != discovery.Issuer+"/openid/v1/jwks" {
		t.Errorf("discovery: %+v, %v", discovery, err)
	}
}

func certificateRequest(t *testing.T, client kubernetes.Interface, admin *rest.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	requests := client.CertificatesV1().CertificateSigningRequests()
	csr, err := requests.Create(t.Context(), &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "jane"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: certificatesv1.KubeAPIServerClientSignerName,
			Usages:     []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test"}}
	if _, err := requests.UpdateApproval(t.Context(), "jane", csr, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the certificate", func() (err error) {
		csr, err = requests.Get(t.Context(), "jane", metav1.GetOptions{})
		if err == nil && len(csr.Status.Certificate) == 0 {
			return errors.New("not signed yet")
		}
		return err
	})
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	jane := rest.AnonymousClientConfig(admin)
	jane.CertData = csr.Status.Certificate
	jane.KeyData = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	review, err := kubernetes.NewForConfigOrDie(jane).AuthenticationV1().SelfSubjectReviews().Create(t.Context(),
		&authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil || review.Status.UserInfo.Username != "jane" {
		t.Errorf("review: %v, %v", review, err)
	}
}

func deployment(t *testing.T, client kubernetes.Interface) {
	one := int32(1)
	labels := map[string]string{"app": "web"}
	_, err := client.AppsV1().Deployments("default").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web"}}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod", func() error {
		pods, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			return err
		}
		if len(pods.Items) != 1 {
			return errors.New("no pod yet")
		}
		if mounts := pods.Items[0].Spec.Containers[0].VolumeMounts; len(mounts) != 1 {
			t.Errorf("the pod mounts %v", mounts)
		}
		return nil
	})
	eventually(t, "the root CA", func() error {
		root, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "kube-root-ca.crt", metav1.GetOptions{})
		if err == nil && !strings.Contains(root.Data["ca.crt"], "BEGIN CERTIFICATE") {
			t.Errorf("root CA: %v", root)
		}
		return err
	})
}

func apply(t *testing.T, client kubernetes.Interface) {
	manifest := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied"},"data":{"a":"1"}}`
	for _, manager := range []string{"one", "two"} {
		if _, err := client.CoreV1().ConfigMaps("default").Patch(t.Context(), "applied", types.ApplyPatchType, []byte(manifest),
			metav1.PatchOptions{FieldManager: manager}); err != nil {
			t.Errorf("apply by %s: %v", manager, err)
		}
	}
}

func bootstrapObjects(t *testing.T, client kubernetes.Interface) {
	if _, err := client.SchedulingV1().PriorityClasses().Get(t.Context(), "system-node-critical", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	eventually(t, "the aggregated role", func() error {
		admin, err := client.RbacV1().ClusterRoles().Get(t.Context(), "admin", metav1.GetOptions{})
		if err == nil && len(admin.Rules) == 0 {
			return errors.New("no rules yet")
		}
		return err
	})
	for _, name := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		if _, err := client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := client.RbacV1().Roles("kube-system").Get(t.Context(), "extension-apiserver-authentication-reader", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

// Package integration tests package quota against a real API server with its own quota admission and its own counting.
package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/quota"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

// host is a host cluster with the quota controller of Kubernetes, and with agents that keep quotas.
type host struct {
	config *rest.Config
	admin  client.Client
	ca     *testenv.KeyPair
}

func newHost(t *testing.T) *host {
	t.Helper()
	known := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(known), tenancyv1alpha1.AddToScheme(known)); err != nil {
		t.Fatal(err)
	}
	h := &host{config: testenv.StartHost(t), ca: testenv.NewCA(t, "webhook")}
	h.config.ContentConfig = rest.ContentConfig{} // custom resources do not speak protobuf
	h.config.QPS = -1
	h.config.WarningHandler = rest.NoWarnings{}
	var err error
	if h.admin, err = client.New(h.config, client.Options{Scheme: known}); err != nil {
		t.Fatal(err)
	}
	return h
}

// agent is one replica.
type agent struct {
	*quota.Controller
	address string
	stop    func()
}

// startAgent runs a replica until the test ends or stop is called.
func (h *host) startAgent(t *testing.T, name string, shares shards.Shares) *agent {
	t.Helper()
	controller, err := quota.New(quota.Options{Host: rest.CopyConfig(h.config), Shards: shares, Replica: name, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	leaf := h.ca.Issue(t, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	certificate := &tls.Certificate{Certificate: [][]byte{leaf.Cert.Raw}, PrivateKey: leaf.Key}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := controller.Run(ctx); err != nil {
			t.Errorf("run agent %s: %v", name, err)
		}
	})
	group.Go(func() {
		if err := controller.Serve(ctx, listener, func() (*tls.Certificate, error) { return certificate, nil }); err != nil {
			t.Errorf("serve the webhook of agent %s: %v", name, err)
		}
	})
	one := &agent{Controller: controller, address: listener.Addr().String(), stop: sync.OnceFunc(func() { cancel(); group.Wait() })}
	t.Cleanup(one.stop)
	if !controller.Synced(ctx) {
		t.Fatal("the caches of the agent are not filled")
	}
	return one
}

// installWebhook makes the API server ask this agent.
func (h *host) installWebhook(t *testing.T, name string, one *agent) {
	t.Helper()
	ignore, none, url := admissionv1.Ignore, admissionv1.SideEffectClassNoneOnDryRun, "https://"+one.address+quota.WebhookPath
	webhook := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: name + ".matryoshka.dev",
			ClientConfig: admissionv1.WebhookClientConfig{
				URL: &url, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.ca.Cert.Raw}),
			},
			NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: mapping.LabelAccount, Operator: metav1.LabelSelectorOpExists},
			}},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule: admissionv1.Rule{
					APIGroups: []string{""}, APIVersions: []string{"v1"},
					Resources: []string{"pods", "pods/resize", "persistentvolumeclaims", "services", "configmaps"},
				},
			}},
			FailurePolicy: &ignore, SideEffects: &none, TimeoutSeconds: new(int32(3)), AdmissionReviewVersions: []string{"v1"},
		}},
	}
	h.create(t, webhook)
}

func (h *host) create(t *testing.T, object client.Object) {
	t.Helper()
	if err := h.admin.Create(t.Context(), object); err != nil {
		t.Fatalf("create %T %s: %v", object, object.GetName(), err)
	}
}

// createInRoom makes an object for which the account has room, and returns how often it was refused before. It seldom is: the host's admission may
// not have seen yet that the part of the namespace was raised.
func (h *host) createInRoom(t *testing.T, one client.Object) (refusals int) {
	t.Helper()
	eventually(t, "room for "+one.GetName(), func() error {
		err := h.admin.Create(t.Context(), one)
		if apierrors.IsForbidden(err) {
			refusals++
		}
		return err
	})
	return refusals
}

// addNamespace makes a namespace of an account in which pods can be made.
func (h *host) addNamespace(t *testing.T, name, account, kind string) {
	t.Helper()
	h.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		mapping.LabelAccount: account, mapping.LabelKind: kind,
	}}})
	eventually(t, "default ServiceAccount of "+name, func() error {
		return h.admin.Get(t.Context(), client.ObjectKey{Namespace: name, Name: "default"}, &corev1.ServiceAccount{})
	})
}

func (h *host) addQuota(t *testing.T, name, account string, hard map[corev1.ResourceName]string) {
	t.Helper()
	h.create(t, newQuota(name, account, hard))
}

func newQuota(name, account string, hard map[corev1.ResourceName]string) *tenancyv1alpha1.AccountQuota {
	one := &tenancyv1alpha1.AccountQuota{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       tenancyv1alpha1.AccountQuotaSpec{Account: account, Quota: tenancyv1alpha1.QuotaSpec{Hard: map[corev1.ResourceName]resource.Quantity{}}},
	}
	for resourceName, text := range hard {
		one.Spec.Quota.Hard[resourceName] = resource.MustParse(text)
	}
	return one
}

func (h *host) awaitReady(t *testing.T, name string) *tenancyv1alpha1.AccountQuota {
	t.Helper()
	return h.awaitQuota(t, name, "ready", func(one *tenancyv1alpha1.AccountQuota) bool {
		return hasCondition(one, tenancyv1alpha1.ConditionReady, metav1.ConditionTrue)
	})
}

func (h *host) awaitQuota(t *testing.T, name, what string, want func(*tenancyv1alpha1.AccountQuota) bool) *tenancyv1alpha1.AccountQuota {
	t.Helper()
	one := &tenancyv1alpha1.AccountQuota{}
	eventually(t, "account quota "+name+" is "+what, func() error {
		if err := h.admin.Get(t.Context(), client.ObjectKey{Name: name}, one); err != nil {
			return err
		}
		if !want(one) {
			return fmt.Errorf("status: %+v", one.Status)
		}
		return nil
	})
	return one
}

func hasCondition(one *tenancyv1alpha1.AccountQuota, kind string, status metav1.ConditionStatus) bool {
	for _, condition := range one.Status.Conditions {
		if condition.Type == kind {
			return condition.Status == status && condition.ObservedGeneration == one.Generation
		}
	}
	return false
}

func pod(namespace, name, cpu string) *corev1.Pod {
	one := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(false), TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []corev1.Container{{Name: "main", Image: "example.com/none"}},
		},
	}
	if cpu != "" {
		one.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
	}
	return one
}

func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 90*time.Second, true, func(context.Context) (bool, error) {
		last = condition()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v: %v", what, err, last)
	}
}

// newAuthority makes a certificate authority and forgets its key.
func newAuthority() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

package addressdoor_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/dooridentity"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

const (
	tenantID  = "aaaaaaaa"
	tenantUID = "11111111-2222-3333-4444-555555555555"
	doorName  = "door"
)

var hostNamespace = mapping.HostNamespace(tenantID, "default")

// pair is a host and a control plane of a virtual cluster, both real, with the door between them. There is no sync.
type pair struct {
	host, virtual kubernetes.Interface
}

func newPair(t *testing.T) pair {
	t.Helper()
	host := client(t, testenv.StartHost(t))
	for _, name := range []string{mapping.ControlNamespace(tenantID), hostNamespace} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := host.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	registry := tenants.NewRegistry()
	tenant := tenants.Tenant{ID: tenantID, UID: tenantUID, Namespace: "demo", Name: "hello"}
	registry.Set(tenant)
	authority, err := pki.NewAuthority("doors", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, host, registry, authority)
	virtualConfig := testenv.StartTenant(t, testenv.WithConfig(func(c *config.ControlPlane) {
		c.UID = tenantUID
		c.ServiceRanges = []string{"0.0.0.0/0"}
		c.ServiceAddress = "10.96.0.1"
		c.Doors = &config.Doors{KubeletAddress: address, ServiceAddress: address, ServerName: doorName}
		writeIdentity(t, c.PKIDirectory, authority)
	}))
	tenant.VirtualConfig = virtualConfig
	registry.Set(tenant)
	return pair{host: host, virtual: client(t, virtualConfig)}
}

func client(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func writeIdentity(t *testing.T, directory string, authority *pki.Authority) {
	t.Helper()
	identity, err := authority.Issue(pki.DoorClientLeaf(tenantUID), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		config.DoorCA: authority.CertificatePEM(), config.DoorCert: identity.CertPEM, config.DoorKey: identity.KeyPEM,
	} {
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func serve(t *testing.T, host kubernetes.Interface, registry *tenants.Registry, authority *pki.Authority) string {
	t.Helper()
	door := addressdoor.New(addressdoor.Options{
		Host: host, Tenants: registry, TenantService: addressdoor.AskTenant, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		ForgetNamespace: func(string) {},
		EnsureNamespace: func(ctx context.Context, tenant tenants.Tenant, namespace string) error {
			made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: mapping.HostNamespace(tenant.ID, namespace)}}
			_, err := host.CoreV1().Namespaces().Create(ctx, made, metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return err
		},
	})
	serving := pki.NewDoorServing(authority, []string{doorName}, clock.RealClock{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	outer := dooridentity.ServerConfig(serving.Certificate, func() (*x509.CertPool, error) { return authority.Pool(), nil })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- door.Serve(ctx, listener, outer) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func newService(name string, change func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80}},
		},
	}
	if change != nil {
		change(s)
	}
	return s
}

func (p pair) create(t *testing.T, s *corev1.Service) *corev1.Service {
	t.Helper()
	made, err := p.virtual.CoreV1().Services(s.Namespace).Create(t.Context(), s, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (p pair) update(t *testing.T, s *corev1.Service) *corev1.Service {
	t.Helper()
	updated, err := p.virtual.CoreV1().Services(s.Namespace).Update(t.Context(), s, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return updated
}

func (p pair) hostService(t *testing.T, name string) *corev1.Service {
	t.Helper()
	s, err := p.host.CoreV1().Services(hostNamespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// takeOver does what the sync does with a reservation, as far as the door can see it.
func (p pair) takeOver(t *testing.T, virtual *corev1.Service) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:null,%q:%q}}}`, mapping.AnnotationReservedUntil, mapping.AnnotationTenantUID, virtual.UID)
	_, err := p.host.CoreV1().Services(hostNamespace).Patch(t.Context(), virtual.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

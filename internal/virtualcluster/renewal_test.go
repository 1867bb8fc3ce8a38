package virtualcluster_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

func TestRenewal(t *testing.T) {
	env := newEnvironment(t)
	env.startAgent(t)
	env.create(t, newVirtualCluster("hello"))
	vc := env.withID(t, "hello")
	env.startControlPlane(t, vc)
	vc = env.awaitReady(t, "hello")
	before, _ := env.registry.ByUID(vc.UID)
	var first corev1.Secret
	if err := env.admin.Get(t.Context(), client.ObjectKey{Namespace: mapping.ControlNamespace(vc.Status.ID), Name: "pki"}, &first); err != nil {
		t.Fatal(err)
	}
	env.signsTokensBy(t, vc)

	env.change(t, "hello", func(vc *clusterv1alpha1.VirtualCluster) {
		vc.Spec.RenewCredentials = &metav1.Time{Time: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	})
	env.eventually(t, "the registry has the new credentials, and the control plane's Secret", func() error {
		var files corev1.Secret
		key := client.ObjectKey{Namespace: mapping.ControlNamespace(vc.Status.ID), Name: "pki"}
		if err := env.admin.Get(t.Context(), key, &files); err != nil {
			return err
		}
		now, _ := env.registry.ByUID(vc.UID)
		if now.TokenKeyID == before.TokenKeyID || now.VirtualConfig == before.VirtualConfig || bytes.Equal(files.Data[config.ClientCA], first.Data[config.ClientCA]) {
			return fmt.Errorf("the registry has key %q", now.TokenKeyID)
		}
		return nil
	})
	// The API server runs still, with the old ones.
	if vc, err := env.get(t, "hello"); err != nil || vc.Status.CredentialsRenewed != nil {
		t.Errorf("the renewal is said to be done: %v", err)
	}
	env.startControlPlane(t, vc) // the new pod
	env.eventually(t, "the credentials are renewed", func() (err error) {
		if vc, err = env.get(t, "hello"); err == nil && !vc.Spec.RenewCredentials.Equal(vc.Status.CredentialsRenewed) {
			err = fmt.Errorf("the status is %+v", vc.Status)
		}
		return err
	})
	env.signsTokensBy(t, vc)
	env.checkKubeconfig(t, vc)

	// Who has to leave must not be able to make this the last one.
	env.renewed(t, vc, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
	env.renewed(t, vc, time.Date(2026, 5, 1, 13, 0, 0, 0, time.UTC))
}

// signsTokensBy checks that the registry names the key that the API server signs tokens by.
func (e *environment) signsTokensBy(t *testing.T, vc *clusterv1alpha1.VirtualCluster) {
	t.Helper()
	var token string
	var keyID string
	e.eventually(t, "a token", func() error {
		tenant, _ := e.registry.ByUID(vc.UID)
		keyID = tenant.TokenKeyID
		virtualClient, err := kubernetes.NewForConfig(tenant.VirtualConfig)
		if err != nil {
			return err
		}
		made, err := virtualClient.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		token = made.Status.Token
		return nil
	})
	part, _, _ := strings.Cut(token, ".")
	content, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	var header struct {
		KeyID string `json:"kid"`
	}
	if err := json.Unmarshal(content, &header); err != nil || header.KeyID == "" || header.KeyID != keyID {
		t.Errorf("the token is signed by key %q (%v), the registry says %q", header.KeyID, err, keyID)
	}
}

// renewed asks for a renewal and waits until the registry has other credentials.
func (e *environment) renewed(t *testing.T, vc *clusterv1alpha1.VirtualCluster, at time.Time) {
	t.Helper()
	before, _ := e.registry.ByUID(vc.UID)
	e.change(t, vc.Name, func(vc *clusterv1alpha1.VirtualCluster) { vc.Spec.RenewCredentials = &metav1.Time{Time: at} })
	e.eventually(t, "the registry has the credentials of "+at.String(), func() error {
		if now, _ := e.registry.ByUID(vc.UID); now.TokenKeyID == before.TokenKeyID {
			return fmt.Errorf("it has key %q still", now.TokenKeyID)
		}
		return nil
	})
}

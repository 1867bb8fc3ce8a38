package pki_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

func TestRenewal(t *testing.T) {
	first := newTenant(t)
	owner, err := first.Client.Issue(pki.AdministratorLeaf(), start)
	if err != nil {
		t.Fatal(err)
	}
	renewed := renew(t, first.AgentFiles(), "2026-05-01T13:00:00Z")

	var changed []string
	before, after := first.AgentFiles(), renewed.AgentFiles()
	for _, name := range []string{
		config.ServingCA, "serving-ca.key", config.ClientCA, config.ClientCAKey, config.FrontProxyCA, "front-proxy-ca.key",
		config.KubeletCA, "kubelet-ca.key", config.ServiceAccount,
	} {
		if !bytes.Equal(before[name], after[name]) {
			changed = append(changed, name)
		}
	}
	// What clients know the API server by stays, so that they go on once they have new credentials.
	if diff := cmp.Diff([]string{config.ClientCA, config.ClientCAKey, config.ServiceAccount}, changed); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	if first.Fingerprint() == renewed.Fingerprint() {
		t.Error("the fingerprint is the same: nothing restarts the control plane")
	}
	kept, err := renewed.Client.Ensure(owner, pki.AdministratorLeaf(), start)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(kept.CertPEM, owner.CertPEM) {
		t.Error("the old certificate of the administrator was kept")
	}
	if _, err := parse(t, owner.CertPEM).Verify(x509.VerifyOptions{
		Roots: renewed.Client.Pool(), CurrentTime: start, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err == nil {
		t.Error("the renewed authority vouches for the old certificate")
	}
}

func TestRenewalIsDoneOnce(t *testing.T) {
	const earlier, once, again = "2026-05-01T12:00:00Z", "2026-05-01T13:00:00Z", "2026-05-01T14:00:00Z"
	renewed := renew(t, newTenant(t).AgentFiles(), once)
	for name, tc := range map[string]struct {
		renewal string
		isNew   bool
	}{"Same": {once, false}, "NoneAskedFor": {"", false}, "Another": {again, true}, "Earlier": {earlier, true}} {
		t.Run(name, func(t *testing.T) {
			next := renew(t, renewed.AgentFiles(), tc.renewal)
			if isNew := next.Fingerprint() != renewed.Fingerprint(); isNew != tc.isNew {
				t.Errorf("renewed: %t, want %t", isNew, tc.isNew)
			}
		})
	}
}

// renew is what an agent does that has read the files.
func renew(t *testing.T, files map[string][]byte, renewal string) *pki.Tenant {
	t.Helper()
	tenant, err := pki.EnsureTenant(files, names.ID, start)
	if err != nil {
		t.Fatal(err)
	}
	if err := tenant.Renew(renewal, names.ID, start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return tenant
}

func TestTokenKeyID(t *testing.T) {
	tenant := newTenant(t)
	got, err := tenant.TokenKeyID()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(tenant.AgentFiles()[config.ServiceAccount])
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	if want := base64.RawURLEncoding.EncodeToString(sum[:]); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

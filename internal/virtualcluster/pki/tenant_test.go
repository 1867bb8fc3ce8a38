package pki_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

var (
	start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	names = pki.Names{UID: "4f6c2c7e-0001", ID: "x7k2p3q4", ServiceAddresses: []string{"10.96.0.17"}}
)

func newDoor(t *testing.T) *pki.Authority {
	t.Helper()
	door, err := pki.NewAuthority("doors", start)
	if err != nil {
		t.Fatal(err)
	}
	return door
}

func newTenant(t *testing.T) *pki.Tenant {
	t.Helper()
	tenant, err := pki.EnsureTenant(nil, names.ID, start)
	if err != nil {
		t.Fatal(err)
	}
	return tenant
}

func parse(t *testing.T, certPEM []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(certPEM)
	if block == nil {
		t.Fatalf("no PEM in %q", certPEM)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestControlPlaneFilesAreThoseOfTheConfiguration(t *testing.T) {
	files, err := newTenant(t).ControlPlaneFiles(nil, names, newDoor(t), start)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		config.ServingCert, config.ServingKey, config.ServingCA, config.ClientCA, config.ClientCAKey, config.FrontProxyCA,
		config.FrontProxyCert, config.FrontProxyKey, config.ServiceAccount, config.KubeletCA, config.DoorCA,
		config.DoorCert, config.DoorKey,
	}
	for _, name := range want {
		if len(files[name]) == 0 {
			t.Errorf("%s is missing", name)
		}
	}
	if len(files) != len(want) {
		t.Errorf("got %d files, want %d: a key that is not listed must not reach the control plane", len(files), len(want))
	}
}

func TestServingCertificateNames(t *testing.T) {
	tenant := newTenant(t)
	files, err := tenant.ControlPlaneFiles(nil, names, newDoor(t), start)
	if err != nil {
		t.Fatal(err)
	}
	serving := parse(t, files[config.ServingCert])
	for _, name := range []string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		"x7k2p3q4.vc.matryoshka.internal", "localhost", "10.96.0.17", "127.0.0.1",
	} {
		options := x509.VerifyOptions{DNSName: name, Roots: tenant.Serving.Pool(), CurrentTime: start}
		if _, err := serving.Verify(options); err != nil {
			t.Errorf("verify as %q: %v", name, err)
		}
	}
	options := x509.VerifyOptions{Roots: tenant.Serving.Pool(), CurrentTime: start, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := serving.Verify(options); err == nil {
		t.Error("the serving certificate is also good for a client")
	}
}

func TestNothingChangesWhileAllIsGood(t *testing.T) {
	door, tenant := newDoor(t), newTenant(t)
	first, err := tenant.ControlPlaneFiles(nil, names, door, start)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pki.EnsureTenant(tenant.AgentFiles(), names.ID, start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	second, err := again.ControlPlaneFiles(first, names, door, start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("files changed:\n%s", diff)
	}
	if tenant.Fingerprint() != again.Fingerprint() {
		t.Error("the fingerprint changed")
	}
}

func TestRotation(t *testing.T) {
	cases := map[string]struct {
		reason string
		after  time.Duration
		names  func(pki.Names) pki.Names
		want   []string // certificates that must be new
	}{
		"Hour":          {reason: "nothing is due", after: time.Hour},
		"DoorBefore2/3": {reason: "two thirds of its life, a day of it before it was made", after: 7*time.Hour + 50*time.Minute},
		"DoorAfter2/3":  {reason: "the door certificate is short-lived", after: 8*time.Hour + 10*time.Minute, want: []string{config.DoorCert}},
		"LeafsAfter2/3": {reason: "60 of 90 days have passed", after: 60*24*time.Hour + time.Hour, want: []string{config.DoorCert, config.FrontProxyCert, config.ServingCert}},
		"HoursBefore":   {reason: "the clock that made them was a little ahead", after: -23 * time.Hour},
		"DaysBefore":    {reason: "the clock that made them was far ahead", after: -25 * time.Hour, want: []string{config.DoorCert, config.FrontProxyCert, config.ServingCert}},
		"NewAddress": {
			reason: "the host Service got another address", after: time.Hour, want: []string{config.ServingCert},
			names: func(n pki.Names) pki.Names { n.ServiceAddresses = []string{"10.96.0.18"}; return n },
		},
		"NewUID": {
			reason: "another object is another identity", after: time.Hour, want: []string{config.DoorCert},
			names: func(n pki.Names) pki.Names { n.UID = "another"; return n },
		},
	}
	door, tenant := newDoor(t), newTenant(t)
	before, err := tenant.ControlPlaneFiles(nil, names, door, start)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			asked := names
			if tc.names != nil {
				asked = tc.names(names)
			}
			after, err := tenant.ControlPlaneFiles(before, asked, door, start.Add(tc.after))
			if err != nil {
				t.Fatal(err)
			}
			var renewed []string
			for _, file := range []string{config.DoorCert, config.FrontProxyCert, config.ServingCert} {
				if !bytes.Equal(before[file], after[file]) {
					renewed = append(renewed, file)
				}
			}
			if diff := cmp.Diff(tc.want, renewed); diff != "" {
				t.Errorf("%s: renewed certificates (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestReplacedDoorAuthorityRenewsTheDoorCertificate(t *testing.T) {
	tenant := newTenant(t)
	before, err := tenant.ControlPlaneFiles(nil, names, newDoor(t), start)
	if err != nil {
		t.Fatal(err)
	}
	after, err := tenant.ControlPlaneFiles(before, names, newDoor(t), start)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(before[config.DoorCert], after[config.DoorCert]) {
		t.Error("the certificate of the replaced authority was kept")
	}
}

func TestBrokenAuthorityIsAnError(t *testing.T) {
	cases := map[string]func(files map[string][]byte){
		"KeyGone":    func(files map[string][]byte) { delete(files, config.ClientCAKey) },
		"OtherKey":   func(files map[string][]byte) { files[config.ClientCAKey] = files["serving-ca.key"] },
		"NotPEM":     func(files map[string][]byte) { files[config.KubeletCA] = []byte("x") },
		"LeafAsCA":   func(files map[string][]byte) { files[config.ServingCA] = files[config.ServiceAccount] },
		"BadAccount": func(files map[string][]byte) { files[config.ServiceAccount] = []byte("x") },
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			files := newTenant(t).AgentFiles()
			damage(files)
			if _, err := pki.EnsureTenant(files, names.ID, start); err == nil {
				t.Error("the broken authority was accepted or silently replaced")
			}
		})
	}
}

func TestParseTenantMakesNothing(t *testing.T) {
	files := newTenant(t).AgentFiles()
	if _, err := pki.ParseTenant(files); err != nil {
		t.Fatal(err)
	}
	delete(files, config.KubeletCA)
	delete(files, "kubelet-ca.key")
	if _, err := pki.ParseTenant(files); err == nil || !strings.Contains(err.Error(), config.KubeletCA) {
		t.Errorf("got %v, want an error that names %s", err, config.KubeletCA)
	}
}

func TestEarliestRenewal(t *testing.T) {
	files, err := newTenant(t).ControlPlaneFiles(nil, names, newDoor(t), start)
	if err != nil {
		t.Fatal(err)
	}
	got := pki.EarliestRenewal(files)
	if want := pki.RenewAt(parse(t, files[config.DoorCert])); !got.Equal(want) {
		t.Errorf("got %s, want that of the door certificate, %s", got, want)
	}
	if got := pki.EarliestRenewal(map[string][]byte{"x": []byte("y")}); !got.IsZero() {
		t.Errorf("got %s for no certificates, want zero", got)
	}
}

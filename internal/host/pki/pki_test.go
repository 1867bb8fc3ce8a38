package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func ensure(t *testing.T, folder string) (Files, error) {
	t.Helper()
	return Ensure(filepath.Join(folder, "pki"), Names{
		NodeName: "node", NodeAddress: net.IPv4(10, 240, 0, 1), ServiceAddress: net.IPv4(10, 96, 0, 1),
		InsideServer: "https://10.240.0.1:6443", OutsideServer: "https://127.0.0.1:16443",
		OutsideKubeconfig: filepath.Join(folder, "kubeconfig"),
	})
}

func TestAuthoritiesStayAndCertificatesFit(t *testing.T) {
	folder := t.TempDir()
	files, err := ensure(t, folder)
	if err != nil {
		t.Fatal(err)
	}
	first := read(t, files.CA())
	key := read(t, files.ServiceAccountKey())
	if files, err = ensure(t, folder); err != nil {
		t.Fatal(err)
	}
	if read(t, files.CA()) != first || read(t, files.ServiceAccountKey()) != key {
		t.Error("a second start has made another authority or another key of service accounts")
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(first))
	pair, err := tls.LoadX509KeyPair(files.APIServerCert(), files.APIServerKey())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"127.0.0.1", "10.240.0.1", "10.96.0.1", "kubernetes.default.svc", "localhost"} {
		if _, err := certificate.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("the API server's certificate for %s: %v", name, err)
		}
	}
}

func TestKeysAreForRootOnly(t *testing.T) {
	folder := t.TempDir()
	if _, err := ensure(t, folder); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".crt") {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestKubeconfigOfTheAdministratorPointsOutside(t *testing.T) {
	folder := t.TempDir()
	if _, err := ensure(t, folder); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(filepath.Join(folder, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	cluster := config.Clusters[config.Contexts[config.CurrentContext].Cluster]
	if cluster.Server != "https://127.0.0.1:16443" {
		t.Errorf("server %s", cluster.Server)
	}
}

func TestDamagedFilesAreNamed(t *testing.T) {
	for name, damage := range map[string]func(folder string) error{
		"ca.crt": func(folder string) error {
			return os.WriteFile(filepath.Join(folder, "ca.crt"), []byte("nonsense"), 0o600)
		},
		"ca.key":              func(folder string) error { return os.Truncate(filepath.Join(folder, "ca.key"), 10) },
		"ca":                  func(folder string) error { return os.Remove(filepath.Join(folder, "ca.key")) },
		"service-account.key": func(folder string) error { return os.Truncate(filepath.Join(folder, "service-account.key"), 0) },
		"key beside it": func(folder string) error {
			return os.Rename(filepath.Join(folder, "front-proxy-ca.key"), filepath.Join(folder, "ca.key"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if _, err := ensure(t, folder); err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(folder, "pki")); err != nil {
				t.Fatal(err)
			}
			_, err := ensure(t, folder)
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v, want one that names %q", err, name)
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
)

const small = `apiVersion: controlplane.matryoshka.dev/v1alpha1
kind: ControlPlane
name: demo/hello
uid: 5f0c1d2e
store: {type: sqlite}
serviceAddress: 10.96.0.1
`

func TestDefaults(t *testing.T) {
	c, err := config.Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	want := config.ControlPlane{
		Name: "demo/hello", UID: "5f0c1d2e", BindAddress: "0.0.0.0", Port: 6443, PKIDirectory: "/etc/matryoshka/pki",
		Store:          config.Store{Type: config.StoreSQLite, Path: "/var/lib/matryoshka/state.db"},
		ServiceAddress: "10.96.0.1", ServiceRanges: []string{"0.0.0.0/0"}, ClusterDomain: "cluster.local",
	}
	want.APIVersion, want.Kind = config.APIVersion, config.Kind
	if diff := cmp.Diff(&want, c); diff != "" {
		t.Error(diff)
	}
}

func TestEveryErrorAtOnceWithItsPath(t *testing.T) {
	_, err := config.Parse([]byte(`apiVersion: v1
kind: Thing
name: nonamespace
bindAddress: here
port: 70000
pkiDirectory: pki
store: {type: memory, path: /x}
serviceAddress: 192.168.0.1
serviceRanges: [10.0.0.1/8, "fd00::/48", 10.0.0.0/8]
clusterDomain: _
doors: {kubeletAddress: nowhere, serviceAddress: "host:0"}
`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, path := range []string{
		"apiVersion", "kind", "name", "uid", "bindAddress", "port", "pkiDirectory", "store.path", "serviceRanges:", "serviceRanges[0]",
		"serviceRanges[1]", "serviceAddress", "clusterDomain", "doors.kubeletAddress", "doors.serviceAddress", "doors.serverName",
	} {
		if !strings.Contains(err.Error(), path) {
			t.Errorf("%s is not named in: %v", path, err)
		}
	}
}

func TestRefused(t *testing.T) {
	cases := map[string]struct{ file, named string }{
		"unknown key":         {small + "replicas: 3\n", "replicas"},
		"unknown nested key":  {strings.Replace(small, "{type: sqlite}", "{type: sqlite, dsn: x}", 1), "dsn"},
		"repeated key":        {small + "uid: other\n", "uid"},
		"no store":            {strings.Replace(small, "store: {type: sqlite}\n", "", 1), "store.type"},
		"unknown store":       {strings.Replace(small, "sqlite", "etcd", 1), "store.type"},
		"path breaks the DSN": {strings.Replace(small, "{type: sqlite}", "{type: sqlite, path: '/a?mode=rwc'}", 1), "store.path"},
		"not yaml":            {"{", "yaml"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := config.Parse([]byte(c.file)); err == nil || !strings.Contains(err.Error(), c.named) {
				t.Errorf("got %v, want %q named", err, c.named)
			}
		})
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "controlplane.yaml")
	if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte(small+"x: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("bad file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(small + "doors: {kubeletAddress: 'a:1', serviceAddress: 'b:2', serverName: c}\nserviceRanges: ['10.0.0.0/8', 'fd00::/64']\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse(data)
		if err != nil {
			return
		}
		written, err := c.Marshal()
		if err != nil {
			t.Fatalf("write what was read: %v", err)
		}
		again, err := config.Parse(written)
		if err != nil {
			t.Fatalf("read what was written: %v\n%s", err, written)
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("changed on the way: %s", diff)
		}
	})
}

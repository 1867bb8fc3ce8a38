package node

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/network"
	"github.com/matryoshka-dev/matryoshka/internal/host/pki"
)

func TestDamagedDatabaseIsFound(t *testing.T) {
	for content, damaged := range map[string]bool{
		"":                         false,
		sqliteMagic + "and more":   true,
		"SQLite format 2":          true,
		strings.Repeat("\x00", 99): true,
	} {
		path := filepath.Join(t.TempDir(), "state.db")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		err := checkDatabase(path)
		if (err != nil) != damaged {
			t.Errorf("a database that begins with %q: %v", content, err)
		}
		if damaged && !strings.Contains(err.Error(), path) {
			t.Errorf("the error does not name the file: %v", err)
		}
	}
	if err := checkDatabase(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("no database yet: %v", err)
	}
}

func TestDamagedPageIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"CREATE TABLE t (i INTEGER PRIMARY KEY, s TEXT)",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT i, hex(randomblob(20)) FROM n",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := checkDatabase(path); err != nil {
		t.Fatalf("a sound database: %v", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(bytes.Repeat([]byte{0xa5}, 8192), 3*4096); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := checkDatabase(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a damaged database: %v", err)
	}
}

func TestNodeOfTheLastStartIsNotTakenForThisOnes(t *testing.T) {
	start := time.Now().Truncate(time.Second)
	node := &corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.NewTime(start.Add(-time.Second)),
	}}}}
	if isReportedSince(node, start) {
		t.Error("an old heartbeat was taken for a new one")
	}
	node.Status.Conditions[0].LastHeartbeatTime = metav1.NewTime(start)
	if !isReportedSince(node, start) || !takesPods(node) {
		t.Error("a node that is Ready was not seen")
	}
	node.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}}
	if takesPods(node) {
		t.Error("a node that keeps pods away was taken for ready")
	}
	node.Spec.Taints = nil
	node.Status.Conditions[0].Status = corev1.ConditionFalse
	if takesPods(node) {
		t.Error("a node that is not Ready was taken for ready")
	}
}

func TestFrontDoorIsFoundByTheNameOfItsPort(t *testing.T) {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: agentNamespace, Name: agentService},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.1.2", Ports: []corev1.ServicePort{
			{Name: "kubelet-door", Port: 8444}, {Name: frontDoorPort, Port: 8443},
		}},
	}
	address, err := frontDoorAddress(t.Context(), fake.NewClientset(service))
	if err != nil || address != "10.96.1.2:8443" {
		t.Errorf("address %q, %v", address, err)
	}
	if _, err := frontDoorAddress(t.Context(), fake.NewClientset()); err == nil {
		t.Error("a front door was found without an agent")
	}
}

func TestKubeletKeepsToItsHost(t *testing.T) {
	layout, err := control.NewLayout("/data")
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Layout: layout}
	server, err := kubeletServer(config.node(), testFiles(t))
	if err != nil {
		t.Fatal(err)
	}
	worker, err := kubeletServer(config.worker(), testFiles(t))
	if err != nil {
		t.Fatal(err)
	}
	if worker.RootDirectory == server.RootDirectory || worker.CgroupRoot == server.CgroupRoot || worker.ContainerRuntimeEndpoint == server.ContainerRuntimeEndpoint {
		t.Errorf("the kubelets of both nodes share %q, %q or %q", worker.RootDirectory, worker.CgroupRoot, worker.ContainerRuntimeEndpoint)
	}
	for what, path := range map[string]string{
		"root": server.RootDirectory, "certificates": server.CertDirectory,
		"volume plugins": server.VolumePluginDir, "logs": server.PodLogsDir,
	} {
		if !strings.HasPrefix(path, "/data/") {
			t.Errorf("the folder of %s is %q, outside of the data folder", what, path)
		}
	}
	if server.CgroupRoot != layout.CgroupRoot() || server.MaxPods != maxPods {
		t.Errorf("cgroup root %q, at most %d pods", server.CgroupRoot, server.MaxPods)
	}
}

func testFiles(t *testing.T) pki.Files {
	t.Helper()
	files, err := pki.Ensure(filepath.Join(t.TempDir(), "pki"), pki.Names{
		NodeName: Name, NodeAddress: network.NodeAddress.AsSlice(), ServiceAddress: network.APIService.AsSlice(),
		InsideServer: "https://10.240.0.1:6443", OutsideServer: "https://127.0.0.1:6443",
		OutsideKubeconfig: filepath.Join(t.TempDir(), "kubeconfig"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

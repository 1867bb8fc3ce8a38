package virtualcluster

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
)

func vc(name string, generation int64, conditions ...metav1.Condition) clusterv1alpha1.VirtualCluster {
	return clusterv1alpha1.VirtualCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "demo", Generation: generation, CreationTimestamp: metav1.NewTime(time.Now().Add(-90 * time.Second))},
		Spec:       clusterv1alpha1.VirtualClusterSpec{Store: clusterv1alpha1.Store{Type: "sqlite"}},
		Status:     clusterv1alpha1.VirtualClusterStatus{Conditions: conditions},
	}
}

func ready(status metav1.ConditionStatus, reason string, observed int64) metav1.Condition {
	return metav1.Condition{Type: clusterv1alpha1.ConditionReady, Status: status, Reason: reason, ObservedGeneration: observed}
}

func TestTable(t *testing.T) {
	full := vc("hello", 2, ready("True", "Ready", 2))
	full.Status.ID, full.Status.KubernetesVersion, full.Status.Endpoint = "x7k2p3q4", "v1.36.3", "https://127.0.0.1:8443"
	deleted := vc("old", 1, ready("True", "Ready", 1))
	deleted.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	items := []clusterv1alpha1.VirtualCluster{full, vc("new", 1), vc("changed", 3, ready("True", "Ready", 2)), vc("broken", 1, ready("False", "NoVolume", 1)), deleted}

	var pointers []*clusterv1alpha1.VirtualCluster
	for i := range items {
		pointers = append(pointers, &items[i])
	}

	for name, c := range map[string]struct {
		options       printers.PrintOptions
		withNamespace bool
		want          string
	}{
		"one namespace": {want: `
NAME      READY     REASON     VERSION   AGE
hello     True      Ready      v1.36.3   90s
new       Unknown   Pending    <none>    90s
changed   Unknown   Updating   <none>    90s
broken    False     NoVolume   <none>    90s
old       False     Deleting   <none>    90s
`},
		"wide, all namespaces": {options: printers.PrintOptions{Wide: true}, withNamespace: true, want: `
NAMESPACE   NAME      READY     REASON     VERSION   AGE   ID         STORE    ENDPOINT
demo        hello     True      Ready      v1.36.3   90s   x7k2p3q4   sqlite   https://127.0.0.1:8443
demo        new       Unknown   Pending    <none>    90s   <none>     sqlite   <none>
demo        changed   Unknown   Updating   <none>    90s   <none>     sqlite   <none>
demo        broken    False     NoVolume   <none>    90s   <none>     sqlite   <none>
demo        old       False     Deleting   <none>    90s   <none>     sqlite   <none>
`},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := printers.NewTablePrinter(c.options).PrintObj(Kind.Table(pointers, c.withNamespace), &out); err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for line := range strings.Lines("\n" + out.String()) {
				got.WriteString(strings.TrimRight(line, " \n") + "\n")
			}
			if diff := cmp.Diff(c.want, got.String()); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCreateDryRunPrintsOnlyWhatWasAsked(t *testing.T) {
	cases := map[string]struct {
		args []string
		want string
	}{
		"defaults": {nil, "  network: {}\n  nodes: {}\n  store: {}\n"},
		"all": {
			[]string{"--store", "sqlite", "--store-size", "5Gi", "--storage-class", "fast", "--nodes", "all", "--node-selector", "pool=a", "--scheduling", "tenant", "--pod-security", "restricted", "--isolation=false", "--kubernetes-version", "v1.36.3"},
			"  kubernetesVersion: v1.36.3\n  network:\n    isolation: false\n  nodes:\n    mode: all\n    selector:\n      pool: a\n  podSecurity: restricted\n  scheduling: tenant\n  store:\n    size: 5Gi\n    storageClassName: fast\n    type: sqlite\n",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			command := NewCreate(genericiooptions.IOStreams{Out: &out, ErrOut: &out}, &hostcluster.Target{})
			command.SetArgs(append([]string{"hello", "-n", "demo", "--dry-run", "client", "-o", "yaml"}, c.args...))
			if err := command.ExecuteContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := "apiVersion: cluster.matryoshka.dev/v1alpha1\nkind: VirtualCluster\nmetadata:\n  name: hello\n  namespace: demo\nspec:\n" + c.want + "status: {}\n"
			if diff := cmp.Diff(want, out.String()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

package virtualcluster

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

var testOptions = &Options{
	SystemNamespace: "matryoshka-system", Image: "matryoshka.dev/matryd:v1", FrontDoorAddress: "https://127.0.0.1:8443", DNSService: "matryoshka-dns", Shards: shards.All(),
}

func testVirtualCluster(store clusterv1alpha1.StoreType) *clusterv1alpha1.VirtualCluster {
	return &clusterv1alpha1.VirtualCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "hello", UID: "u"},
		Spec: clusterv1alpha1.VirtualClusterSpec{
			Replicas: 1,
			Store:    clusterv1alpha1.Store{Type: store, Size: resource.MustParse("1Gi")},
		},
		Status: clusterv1alpha1.VirtualClusterStatus{ID: "x7k2p7q4"},
	}
}

var testSurroundings = surroundings{serviceAddresses: []string{"10.96.0.17"}, agentAddress: "10.96.0.2", dnsAddress: "10.96.0.3"}

func TestPodIsRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, store := range []clusterv1alpha1.StoreType{clusterv1alpha1.StoreSQLite, clusterv1alpha1.StoreMemory} {
		set := renderStatefulSet(testVirtualCluster(store), testSurroundings, "hash", testOptions)
		template := set.Spec.Template
		result := policy.AggregateCheckResults(evaluator.EvaluatePod(
			api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &template.ObjectMeta, &template.Spec))
		if !result.Allowed {
			t.Errorf("%s: pod security restricted refuses the pod: %s", store, result.ForbiddenDetail())
		}
		pod := template.Spec
		if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
			t.Errorf("%s: the control plane has an identity on the host", store)
		}
		if !*pod.Containers[0].SecurityContext.ReadOnlyRootFilesystem {
			t.Errorf("%s: the root file system can be written", store)
		}
		if diff := cmp.Diff([]string{"10.96.0.3"}, pod.DNSConfig.Nameservers); diff != "" || pod.DNSPolicy != corev1.DNSNone {
			t.Errorf("%s: the control plane asks another DNS (%s):\n%s", store, pod.DNSPolicy, diff)
		}
		if hasClaim := len(set.Spec.VolumeClaimTemplates) == 1; hasClaim != (store == clusterv1alpha1.StoreSQLite) {
			t.Errorf("%s: a volume claim is there: %t", store, hasClaim)
		}
		checkVolumes(t, set.Spec.VolumeClaimTemplates, pod)
	}
}

// checkVolumes finds what is mounted but not there, and the other way round.
func checkVolumes(t *testing.T, claims []corev1.PersistentVolumeClaim, pod corev1.PodSpec) {
	t.Helper()
	volumes, mounts := map[string]bool{}, map[string]bool{}
	for _, claim := range claims {
		volumes[claim.Name] = true
	}
	for _, volume := range pod.Volumes {
		volumes[volume.Name] = true
	}
	for _, mount := range pod.Containers[0].VolumeMounts {
		mounts[mount.Name] = true
	}
	if diff := cmp.Diff(volumes, mounts); diff != "" {
		t.Errorf("volumes and mounts differ:\n%s", diff)
	}
}

func TestGarbageCollection(t *testing.T) {
	cases := map[string]struct {
		limit string
		want  map[string]string
	}{
		"NoLimit":    {want: map[string]string{}},
		"Large":      {limit: "1000Mi", want: map[string]string{"GOMEMLIMIT": "943718400"}},
		"BelowAlive": {limit: "128Mi", want: map[string]string{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var resources corev1.ResourceRequirements
			if tc.limit != "" {
				resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(tc.limit)}
			}
			got := map[string]string{}
			for _, variable := range garbageCollection(resources) {
				got[variable.Name] = variable.Value
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigFileIsValid(t *testing.T) {
	cases := map[string]struct {
		addresses []string
		ranges    []string
	}{
		"IPv4": {[]string{"10.96.0.17"}, []string{"0.0.0.0/0"}},
		"IPv6": {[]string{"fd00::17"}, []string{"fd00::/64"}},
		"Dual": {[]string{"10.96.0.17", "fd00::17"}, []string{"0.0.0.0/0", "fd00::/64"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			around := testSurroundings
			around.serviceAddresses = tc.addresses
			vc := testVirtualCluster(clusterv1alpha1.StoreSQLite)
			vc.Spec.Scheduling = clusterv1alpha1.SchedulingTenant
			content, err := renderConfigFile(vc, around, testOptions)
			if err != nil {
				t.Fatal(err)
			}
			file, err := config.Parse(content)
			if err != nil {
				t.Fatalf("the control plane would refuse its configuration: %v\n%s", err, content)
			}
			want := &config.Doors{
				KubeletAddress: "10.96.0.2:8444", ServiceAddress: "10.96.0.2:8445", ServerName: "matryoshka-agent.matryoshka-system.svc",
			}
			if diff := cmp.Diff(want, file.Doors); diff != "" {
				t.Errorf("doors (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.ranges, file.ServiceRanges); diff != "" || file.ServiceAddress != tc.addresses[0] || !file.Scheduler {
				t.Errorf("got %+v", file)
			}
		})
	}
}

func TestConfigHash(t *testing.T) {
	base := configHash([]byte("a"), "b", []byte("c"))
	if again := configHash([]byte("a"), "b", []byte("c")); again != base {
		t.Error("the hash of the same is another")
	}
	for name, other := range map[string]string{
		"configuration": configHash([]byte("x"), "b", []byte("c")),
		"authorities":   configHash([]byte("a"), "x", []byte("c")),
		"door CA":       configHash([]byte("a"), "b", []byte("x")),
	} {
		if other == base {
			t.Errorf("another %s does not restart the control plane", name)
		}
	}
}

func TestKubeconfig(t *testing.T) {
	tenant, err := pki.EnsureTenant(nil, "x7k2p7q4", start)
	if err != nil {
		t.Fatal(err)
	}
	vc := testVirtualCluster(clusterv1alpha1.StoreMemory)
	first, renewAt, err := kubeconfigFor(vc, tenant, nil, "https://127.0.0.1:8443", start)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := clientcmd.RESTConfigFromKubeConfig(first)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.ServerName != "x7k2p7q4.vc.matryoshka.internal" || loaded.Host != "https://127.0.0.1:8443" {
		t.Errorf("got server %q, name %q", loaded.Host, loaded.ServerName)
	}
	later, _, err := kubeconfigFor(vc, tenant, first, "https://127.0.0.1:8443", renewAt.Add(-1))
	if err != nil || !cmp.Equal(first, later) {
		t.Errorf("the kubeconfig changed while its certificate was good: %v", err)
	}
	moved, _, err := kubeconfigFor(vc, tenant, first, "https://vc.example.com", start)
	if err != nil {
		t.Fatal(err)
	}
	movedConfig, err := clientcmd.RESTConfigFromKubeConfig(moved)
	if err != nil || movedConfig.Host != "https://vc.example.com" || !cmp.Equal(movedConfig.CertData, loaded.CertData) {
		t.Errorf("after a move of the front door the kubeconfig leads to %q: %v", movedConfig.Host, err)
	}
	renewed, _, err := kubeconfigFor(vc, tenant, first, "https://127.0.0.1:8443", renewAt)
	if err != nil || cmp.Equal(first, renewed) {
		t.Errorf("the certificate was not renewed: %v", err)
	}
	if _, _, err := kubeconfigFor(vc, tenant, []byte("no: [kubeconfig"), "https://127.0.0.1:8443", start); err != nil {
		t.Errorf("a broken kubeconfig is not replaced: %v", err)
	}
}

func TestValidateSpec(t *testing.T) {
	cases := map[string]struct {
		selector map[string]string
		want     string
	}{
		"None":  {},
		"Good":  {selector: map[string]string{"example.org/pool": "shared", "empty": ""}},
		"Key":   {selector: map[string]string{"no key": "a"}, want: `spec.nodes.selector: Invalid value: "no key"`},
		"Value": {selector: map[string]string{"pool": "a/b"}, want: `spec.nodes.selector: Invalid value: "a/b"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			vc := &clusterv1alpha1.VirtualCluster{Spec: clusterv1alpha1.VirtualClusterSpec{Nodes: clusterv1alpha1.Nodes{Selector: tc.selector}}}
			err := validateSpec(vc)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if err != nil && !isRefusal(err) {
				t.Error("it is not told as a fault of the spec")
			}
		})
	}
}

package mapping

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// isDNSLabel tells whether the API server takes s as a namespace name.
func isDNSLabel(s string) bool {
	if len(s) == 0 || len(s) > 63 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return false
	}
	return s[0] != '-' && s[len(s)-1] != '-'
}

func TestHostNamespace(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, tc := range map[string]struct {
		reason, id, namespace, want string
	}{
		"Plain":   {"a short name stays readable", "x7k2p2q4", "default", "vc-x7k2p2q4-default"},
		"Control": {"a tenant namespace named control is not the control namespace", "x7k2p2q4", "control", "vc-x7k2p2q4-control"},
		"Longest": {"62 characters are the longest plain form", "x7k2p2q4", long[:50], "vc-x7k2p2q4-" + long[:50]},
		"Hashed":  {"one more is hashed to 63", "x7k2p2q4", long[:51], ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := HostNamespace(tc.id, tc.namespace)
			if name == "Hashed" {
				if len(got) != 63 || !strings.HasPrefix(got, "vc-x7k2p2q4-"+long[:18]+"-") {
					t.Errorf("%s: got %q of %d characters", tc.reason, got, len(got))
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestHostNamespaceIsStable pins the hashed form: another one would lose every tenant's long namespaces at an update.
func TestHostNamespaceIsStable(t *testing.T) {
	got := HostNamespace("aaaaaaaa", "a-namespace-name-that-is-as-long-as-a-namespace-name-can-be-63c")
	if again := HostNamespace("aaaaaaaa", "a-namespace-name-that-is-as-long-as-a-namespace-name-can-be-63c"); again != got {
		t.Fatalf("got %q, then %q", got, again)
	}
	if want := "vc-aaaaaaaa-a-namespace-name-t-vbeukssn67bocbz26zcgbjux3yc5rcw5"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzHostNamespace looks for two namespaces, of one tenant or two, with one host namespace, also among names that are
// made from the host form of the other.
func FuzzHostNamespace(f *testing.F) {
	f.Add("x7k2p2q4", "default", "a2b3c4d5", "default")
	f.Add("x7k2p2q4", strings.Repeat("a", 51), "x7k2p2q4", strings.Repeat("a", 52))
	f.Add("aaaaaaaa", "b", "aaaaaaaa", "b-")
	f.Fuzz(func(t *testing.T, idA, namespaceA, idB, namespaceB string) {
		if !IsID(idA) || !IsID(idB) || !isDNSLabel(namespaceA) || !isDNSLabel(namespaceB) {
			return
		}
		hostA, hostB := HostNamespace(idA, namespaceA), HostNamespace(idB, namespaceB)
		checkHostNamespace(t, idA, namespaceA)
		checkDistinct(t, idA, namespaceA, idB, namespaceB)
		// A tenant chooses names that it has seen on the host: whole, without prefix, cut.
		for _, forged := range []string{hostA, hostB, strings.TrimPrefix(hostA, "vc-"+idA+"-"), strings.TrimSuffix(hostA, "-")} {
			if isDNSLabel(forged) {
				checkDistinct(t, idA, namespaceA, idB, forged)
				checkDistinct(t, idA, namespaceA, idA, forged)
			}
		}
	})
}

func checkHostNamespace(t *testing.T, id, namespace string) {
	t.Helper()
	host := HostNamespace(id, namespace)
	if !isDNSLabel(host) {
		t.Errorf("HostNamespace(%q, %q) = %q is not a namespace name", id, namespace, host)
	}
	if host == ControlNamespace(id) || strings.HasPrefix(host, "vcp-") {
		t.Errorf("HostNamespace(%q, %q) = %q looks like a control namespace", id, namespace, host)
	}
}

func checkDistinct(t *testing.T, idA, namespaceA, idB, namespaceB string) {
	t.Helper()
	if idA == idB && namespaceA == namespaceB {
		return
	}
	if host := HostNamespace(idA, namespaceA); host == HostNamespace(idB, namespaceB) {
		t.Errorf("(%q, %q) and (%q, %q) are both %q", idA, namespaceA, idB, namespaceB, host)
	}
}

func TestHostNames(t *testing.T) {
	for name, tc := range map[string]struct{ kind, tenant, host string }{
		"Ordinary":       {"ConfigMap", "settings", "settings"},
		"RootCA":         {"ConfigMap", "kube-root-ca.crt", "matryoshka-kube-root-ca.crt"},
		"OnlyConfigMaps": {"Secret", "kube-root-ca.crt", "kube-root-ca.crt"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := HostName(tc.kind, tc.tenant); got != tc.host {
				t.Errorf("HostName(%q, %q) = %q, want %q", tc.kind, tc.tenant, got, tc.host)
			}
			if got := TenantName(tc.kind, tc.host); got != tc.tenant {
				t.Errorf("TenantName(%q, %q) = %q, want %q", tc.kind, tc.host, got, tc.tenant)
			}
		})
	}
}

// FuzzHostName looks for two tenant names with one host name, and for one that does not come back.
func FuzzHostName(f *testing.F) {
	f.Add("ConfigMap", "kube-root-ca.crt", "matryoshka-kube-root-ca.crt")
	f.Fuzz(func(t *testing.T, kind, a, b string) {
		if IsReserved(a) || IsReserved(b) {
			return // refused before it has a host name
		}
		if a != b && HostName(kind, a) == HostName(kind, b) {
			t.Errorf("%q and %q are both %q", a, b, HostName(kind, a))
		}
		if back := TenantName(kind, HostName(kind, a)); back != a {
			t.Errorf("%q comes back as %q", a, back)
		}
	})
}

func TestCopiedMetadata(t *testing.T) {
	for key, want := range map[string]bool{
		"app":                                   true,
		"app.kubernetes.io/name":                true,
		"batch.kubernetes.io/job-name":          true,
		"matryoshka.dev/virtual-cluster-id":     false,
		"ns.matryoshka.dev/x":                   false,
		"sidecar.istio.io/inject":               false,
		"istio.io/rev":                          false,
		"notistio.io/rev":                       true,
		"azure.workload.identity/use":           false,
		"cluster-autoscaler.kubernetes.io/safe": false,
		"k8s-app":                               true,
		"io.kompose.service":                    true,
		"io.cilium.k8s.policy.serviceaccount":   false,
		"io.cilium.k8s.namespace.labels.team":   false,
		"io.kubernetes.pod.namespace":           false,
		"network.cilium.io/mesh":                false,
		"aadpodidbinding":                       false,
		"kueue.x-k8s.io/queue-name":             false,
	} {
		if got := IsCopiedLabel(key); got != want {
			t.Errorf("IsCopiedLabel(%q) = %v, want %v", key, got, want)
		}
	}
	for key, want := range map[string]bool{
		"prometheus.io/scrape":                                          true,
		"kubectl.kubernetes.io/default-container":                       true,
		"kubernetes.io/config.mirror":                                   false,
		"note":                                                          false,
		"k8s.v1.cni.cncf.io/networks":                                   false,
		"cni.projectcalico.org/ipAddrs":                                 false,
		"container.apparmor.security.beta.kubernetes.io/main":           false,
		"cluster-autoscaler.kubernetes.io/safe-to-evict":                false,
		"io.katacontainers.config.hypervisor.kernel":                    false,
		"external-dns.alpha.kubernetes.io/hostname":                     false,
		"service.beta.kubernetes.io/aws-load-balancer-security-groups":  false,
		"nobody.has.heard.of.it/yet":                                    false,
		"kubectl.kubernetes.io/last-applied-configuration":              false,
		"prometheus.io/scrape.example.com":                              false,
		"service.beta.kubernetes.io/azure-load-balancer-resource-group": false,
		"kubernetes.io/egress-bandwidth":                                false,
		"seccomp.security.alpha.kubernetes.io/pod":                      false,
		"backup.velero.io/backup-volumes":                               false,
		"autoscaling.knative.dev/minScale":                              false,
		"metallb.universe.tf/loadBalancerIPs":                           false,
	} {
		if got := IsCopiedAnnotation(key); got != want {
			t.Errorf("IsCopiedAnnotation(%q) = %v, want %v", key, got, want)
		}
	}
}

func TestHostNamespaceLabelIsAKey(t *testing.T) {
	for _, key := range []string{"team", "app.kubernetes.io/" + strings.Repeat("x", 63), "matryoshka.dev/kind"} {
		host := HostNamespaceLabel(key)
		prefix, name, _ := strings.Cut(host, "/")
		if prefix+"/" != NamespaceLabelPrefix || len(name) > 63 || !isDNSLabel(name) {
			t.Errorf("HostNamespaceLabel(%q) = %q is not a label key of ours", key, host)
		}
	}
}

package rules

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

func account(change func(*tenancyv1alpha1.AccountSpec)) *tenancyv1alpha1.Account {
	made := &tenancyv1alpha1.Account{ObjectMeta: metav1.ObjectMeta{Name: "team", Generation: 3}}
	change(&made.Spec)
	return made
}

// TestRoundTrip: what is put onto a namespace is read back, and nothing of another time stays.
func TestRoundTrip(t *testing.T) {
	cases := map[string]func(*tenancyv1alpha1.AccountSpec){
		"Nothing": func(*tenancyv1alpha1.AccountSpec) {},
		"NoClasses": func(spec *tenancyv1alpha1.AccountSpec) {
			spec.StorageClasses, spec.IngressClasses, spec.RuntimeClasses = &tenancyv1alpha1.AllowedClasses{}, &tenancyv1alpha1.AllowedClasses{}, &tenancyv1alpha1.AllowedClasses{}
		},
		"Everything": func(spec *tenancyv1alpha1.AccountSpec) {
			spec.Suspended = true
			spec.StorageClasses = &tenancyv1alpha1.AllowedClasses{Names: []string{"slow", "fast.example.org"}}
			spec.RuntimeClasses = &tenancyv1alpha1.AllowedClasses{Names: []string{"gvisor"}}
			spec.NodeSelector = map[string]string{"example.org/pool": "a", "empty": ""}
			spec.PriorityClassName = "tenants"
			spec.VirtualClusters.SyncWeight = 3
			spec.PodSecurity = tenancyv1alpha1.AccountPodSecurity{Default: "restricted", Maximum: "privileged"}
			spec.Tolerations = []corev1.Toleration{
				{Operator: "Exists"},
				{Key: "example.org/dedicated", Operator: "Equal", Value: "team", Effect: "NoExecute", TolerationSeconds: new(int64(60))},
			}
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			want, err := FromAccount(account(change), "")
			if err != nil {
				t.Fatal(err)
			}
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
				annotationIngressClasses: "old", annotationSuspended: "true", "other": "stays",
			}}}
			if want.ArePut(&namespace.ObjectMeta) {
				t.Error("the rules count as put before they are")
			}
			want.Put(&namespace.ObjectMeta)
			if !want.ArePut(&namespace.ObjectMeta) {
				t.Errorf("the rules do not count as put: %v", namespace.Annotations)
			}
			got, ok, err := Of(namespace)
			if err != nil || !ok {
				t.Fatalf("read: %v, %v", ok, err)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(Classes{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("rules (-put +read):\n%s", diff)
			}
			if namespace.Annotations["other"] != "stays" {
				t.Error("an annotation of somebody else's is gone")
			}
		})
	}
}

// TestNoRules: a namespace is of an account only when it has its label and its rules.
func TestNoRules(t *testing.T) {
	full := corev1.Namespace{}
	Rules{Account: "team"}.Put(&full.ObjectMeta)
	withoutLabel, withoutRules := full.DeepCopy(), full.DeepCopy()
	withoutLabel.Labels, withoutRules.Annotations = nil, nil
	for name, namespace := range map[string]*corev1.Namespace{"label": withoutLabel, "rules": withoutRules} {
		if _, ok, err := Of(namespace); ok || err != nil {
			t.Errorf("without its %s: got %v, %v", name, ok, err)
		}
	}
}

// TestAmbiguousRules: what could be read as something else is not written.
func TestAmbiguousRules(t *testing.T) {
	cases := map[string]struct {
		change func(*tenancyv1alpha1.AccountSpec)
		want   string
	}{
		"ClassWithComma": {func(spec *tenancyv1alpha1.AccountSpec) {
			spec.StorageClasses = &tenancyv1alpha1.AllowedClasses{Names: []string{"a,b"}}
		}, "spec.storageClasses"},
		"EmptyClass": {func(spec *tenancyv1alpha1.AccountSpec) {
			spec.IngressClasses = &tenancyv1alpha1.AllowedClasses{Names: []string{""}}
		}, "spec.ingressClasses"},
		"LabelWithComma": {func(spec *tenancyv1alpha1.AccountSpec) { spec.NodeSelector = map[string]string{"a": "b,c=d"} }, "spec.nodeSelector"},
		"Priority":       {func(spec *tenancyv1alpha1.AccountSpec) { spec.PriorityClassName = "no class" }, "spec.priorityClassName"},
		"TaintWithBar": {func(spec *tenancyv1alpha1.AccountSpec) {
			spec.Tolerations = []corev1.Toleration{{Key: "a|Exists||", Operator: "Exists"}}
		}, "spec.tolerations[0]"},
		"Operator": {func(spec *tenancyv1alpha1.AccountSpec) {
			spec.Tolerations = []corev1.Toleration{{Key: "a", Operator: "Lt", Value: "5"}}
		}, "operator"},
		"EverythingByAccident": {func(spec *tenancyv1alpha1.AccountSpec) {
			spec.Tolerations = []corev1.Toleration{{Value: "a"}}
		}, "without a key"},
		"SecondsOfNothing": {func(spec *tenancyv1alpha1.AccountSpec) {
			spec.Tolerations = []corev1.Toleration{{Key: "a", Operator: "Exists", TolerationSeconds: new(int64(1))}}
		}, "tolerationSeconds"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := FromAccount(account(tc.change), ""); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestTolerates(t *testing.T) {
	granted := Rules{Tolerations: []corev1.Toleration{
		{Key: "gpu", Operator: "Exists", Effect: "NoSchedule"},
		{Key: "team", Operator: "Equal", Value: "a"},
		{Key: "short", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: new(int64(60))},
	}}
	cases := map[string]struct {
		asked corev1.Toleration
		want  bool
	}{
		"NodeGone":       {corev1.Toleration{Key: corev1.TaintNodeNotReady, Operator: "Exists", Effect: "NoExecute"}, true},
		"NodeGoneForAll": {corev1.Toleration{Key: corev1.TaintNodeNotReady, Operator: "Exists"}, false},
		"Pressure":       {corev1.Toleration{Key: corev1.TaintNodeDiskPressure, Operator: "Exists", Effect: "NoSchedule"}, false},
		"Everything":     {corev1.Toleration{Operator: "Exists"}, false},
		"Same":           {corev1.Toleration{Key: "gpu", Operator: "Exists", Effect: "NoSchedule"}, true},
		"OneValue":       {corev1.Toleration{Key: "gpu", Value: "x", Effect: "NoSchedule"}, true},
		"OtherEffect":    {corev1.Toleration{Key: "gpu", Operator: "Exists", Effect: "NoExecute"}, false},
		"EveryEffect":    {corev1.Toleration{Key: "gpu", Operator: "Exists"}, false},
		"Value":          {corev1.Toleration{Key: "team", Value: "a", Effect: "NoExecute"}, true},
		"OtherValue":     {corev1.Toleration{Key: "team", Value: "b"}, false},
		"EveryValue":     {corev1.Toleration{Key: "team", Operator: "Exists"}, false},
		"Comparison":     {corev1.Toleration{Key: "team", Operator: "Gt", Value: "a"}, false},
		"Shorter":        {corev1.Toleration{Key: "short", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: new(int64(5))}, true},
		"Longer":         {corev1.Toleration{Key: "short", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: new(int64(61))}, false},
		"ForEver":        {corev1.Toleration{Key: "short", Operator: "Exists", Effect: "NoExecute"}, false},
		"ControlPlane":   {corev1.Toleration{Key: "node-role.kubernetes.io/control-plane", Operator: "Exists"}, false},
		"SomethingElse":  {corev1.Toleration{Key: "other", Operator: "Exists"}, false},
		"KeyOfOtherForm": {corev1.Toleration{Key: "gpu2", Operator: "Exists", Effect: "NoSchedule"}, false},
		"Preference":     {corev1.Toleration{Key: "gpu", Operator: "Exists", Effect: "PreferNoSchedule"}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := granted.Tolerates(tc.asked); got != tc.want {
				t.Errorf("Tolerates(%+v) = %t, want %t", tc.asked, got, tc.want)
			}
		})
	}
}

package rules

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// Rules are what holds in every namespace of an account.
type Rules struct {
	// Account is its name.
	Account string
	// Generation of the Account that says so.
	Generation int64
	// IsSuspended tells that nothing new may begin.
	IsSuspended bool
	// PodSecurityDefault holds in spaces; PodSecurityMaximum is the most that a virtual cluster may ask for.
	PodSecurityDefault, PodSecurityMaximum tenancyv1alpha1.PodSecurityLevel
	// StorageClasses, IngressClasses and RuntimeClasses are those that may be used.
	StorageClasses, IngressClasses, RuntimeClasses Classes
	// NodeSelector is what every pod selects nodes by.
	NodeSelector map[string]string
	// Tolerations are what pods may tolerate beside what every pod does.
	Tolerations []corev1.Toleration
	// PriorityClass is the one that every pod has: the account's, or the host's default, or "" for none.
	PriorityClass string
	// SyncWeight is the share of a virtual cluster in the work of the agent; 0 is 1.
	SyncWeight int32
}

// Classes are names of classes. The zero value is any.
type Classes struct {
	names     []string
	isLimited bool
}

// OnlyClasses are classes of these names and no others.
func OnlyClasses(names ...string) Classes {
	return Classes{names: slices.Sorted(slices.Values(names)), isLimited: true}
}

// Allow tells whether a class may be used.
func (c Classes) Allow(name string) bool { return !c.isLimited || slices.Contains(c.names, name) }

// FromAccount reads the rules of an account. defaultPriorityClass is the host's, or "". An error says what the account says
// that is no rule; the rules that hold then go on holding.
func FromAccount(account *tenancyv1alpha1.Account, defaultPriorityClass string) (Rules, error) {
	spec := &account.Spec
	made := Rules{
		Account:            account.Name,
		Generation:         account.Generation,
		IsSuspended:        spec.Suspended,
		PodSecurityDefault: cmp.Or(spec.PodSecurity.Default, tenancyv1alpha1.PodSecurityBaseline),
		PodSecurityMaximum: cmp.Or(spec.PodSecurity.Maximum, tenancyv1alpha1.PodSecurityBaseline),
		StorageClasses:     classes(spec.StorageClasses),
		IngressClasses:     classes(spec.IngressClasses),
		RuntimeClasses:     classes(spec.RuntimeClasses),
		NodeSelector:       spec.NodeSelector,
		Tolerations:        spec.Tolerations,
		PriorityClass:      cmp.Or(spec.PriorityClassName, defaultPriorityClass),
		SyncWeight:         spec.VirtualClusters.SyncWeight,
	}
	return made, made.validate()
}

func classes(allowed *tenancyv1alpha1.AllowedClasses) Classes {
	if allowed == nil {
		return Classes{}
	}
	return OnlyClasses(allowed.Names...)
}

// validate refuses what has another form than the host gives to names, keys and values. Such a thing could not select, tolerate
// or name anything; and the characters that separate them in annotations must not be part of them.
func (r Rules) validate() error {
	for field, allowed := range map[string]Classes{"storageClasses": r.StorageClasses, "ingressClasses": r.IngressClasses, "runtimeClasses": r.RuntimeClasses} {
		for _, name := range allowed.names {
			if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 {
				return fmt.Errorf("spec.%s: %q is no name of a class: %s", field, name, wrong[0])
			}
		}
	}
	if name := r.PriorityClass; name != "" {
		if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 {
			return fmt.Errorf("spec.priorityClassName: %q is no name of a class: %s", name, wrong[0])
		}
	}
	for key, value := range r.NodeSelector {
		if wrong := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(wrong) > 0 {
			return fmt.Errorf("spec.nodeSelector: %q is no label of a node: %s", key+"="+value, wrong[0])
		}
	}
	for index, toleration := range r.Tolerations {
		if wrong := invalidToleration(toleration); wrong != "" {
			return fmt.Errorf("spec.tolerations[%d]: %s", index, wrong)
		}
	}
	return nil
}

func invalidToleration(toleration corev1.Toleration) string {
	operator := cmp.Or(toleration.Operator, corev1.TolerationOpEqual)
	effects := []corev1.TaintEffect{"", corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}
	switch {
	case operator != corev1.TolerationOpEqual && operator != corev1.TolerationOpExists:
		return fmt.Sprintf("operator %q must be Exists or Equal", operator)
	case toleration.Key == "" && operator != corev1.TolerationOpExists:
		return "without a key the operator must be Exists"
	case operator == corev1.TolerationOpExists && toleration.Value != "":
		return "with operator Exists there is no value"
	case !slices.Contains(effects, toleration.Effect):
		return fmt.Sprintf("effect %q must be NoSchedule, PreferNoSchedule or NoExecute", toleration.Effect)
	case toleration.TolerationSeconds != nil && toleration.Effect != corev1.TaintEffectNoExecute:
		return "tolerationSeconds need the effect NoExecute"
	}
	if toleration.Key != "" {
		if wrong := validation.IsQualifiedName(toleration.Key); len(wrong) > 0 {
			return fmt.Sprintf("%q is no key of a taint: %s", toleration.Key, wrong[0])
		}
	}
	if wrong := validation.IsValidLabelValue(toleration.Value); len(wrong) > 0 {
		return fmt.Sprintf("%q is no value of a taint: %s", toleration.Value, wrong[0])
	}
	return ""
}

// nodeGone are the taints that every pod tolerates for a while: the host adds that itself.
var nodeGone = []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable}

// Tolerates tells whether a pod of the account may have this toleration.
func (r Rules) Tolerates(asked corev1.Toleration) bool {
	if slices.Contains(nodeGone, asked.Key) && asked.Effect == corev1.TaintEffectNoExecute {
		return true
	}
	return slices.ContainsFunc(r.Tolerations, func(granted corev1.Toleration) bool { return covers(granted, asked) })
}

// covers tells whether everything that asked tolerates granted tolerates, too.
func covers(granted, asked corev1.Toleration) bool {
	isAnyValue := granted.Operator == corev1.TolerationOpExists
	isEqual := asked.Operator == "" || asked.Operator == corev1.TolerationOpEqual
	switch {
	case granted.Key != "" && granted.Key != asked.Key:
		return false
	case !isAnyValue && (!isEqual || granted.Value != asked.Value):
		return false
	case granted.Effect != "" && granted.Effect != asked.Effect:
		return false
	case granted.TolerationSeconds != nil:
		return asked.TolerationSeconds != nil && *asked.TolerationSeconds <= *granted.TolerationSeconds
	}
	return true
}

// Name of the account, "" for nil.
func (r *Rules) Name() string {
	if r == nil {
		return ""
	}
	return r.Account
}

// Weight is the share of a virtual cluster in the work of the agent, at least 1. It is 1 for nil.
func (r *Rules) Weight() int {
	if r == nil {
		return 1
	}
	return max(1, int(r.SyncWeight))
}

// Equal tells whether both say the same, of whichever generation they are. Nil equals nil only.
func (r *Rules) Equal(other *Rules) bool {
	if r == nil || other == nil {
		return r == other
	}
	first, second := *r, *other
	first.Generation, second.Generation = 0, 0
	return first.Account == second.Account && maps.Equal(first.Annotations(), second.Annotations())
}

// String names the classes, for messages.
func (c Classes) String() string {
	if !c.isLimited {
		return "any"
	}
	if len(c.names) == 0 {
		return "none"
	}
	return strings.Join(c.names, ", ")
}

package rules

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// The annotations of a namespace. The policies of the chart read them, so that their form is a protocol: lists are joined by
// commas, labels by '=', the parts of a toleration by '|'.
const (
	// AnnotationPrefix begins them all. Nobody but the agent may write what begins so.
	AnnotationPrefix = "account.matryoshka.dev/"

	// AnnotationGeneration is there when the rules are: the generation of the Account that they are from.
	AnnotationGeneration = AnnotationPrefix + "generation"

	annotationSuspended          = AnnotationPrefix + "suspended"
	annotationPodSecurityDefault = AnnotationPrefix + "pod-security-default"
	annotationPodSecurityMaximum = AnnotationPrefix + "pod-security-maximum"
	annotationStorageClasses     = AnnotationPrefix + "storage-classes"
	annotationIngressClasses     = AnnotationPrefix + "ingress-classes"
	annotationRuntimeClasses     = AnnotationPrefix + "runtime-classes"
	annotationNodeSelector       = AnnotationPrefix + "node-selector"
	annotationTolerations        = AnnotationPrefix + "tolerations"
	annotationPriorityClass      = AnnotationPrefix + "priority-class"
	annotationSyncWeight         = AnnotationPrefix + "sync-weight"
)

// Annotations are the rules as annotations. What is not limited has none.
func (r Rules) Annotations() map[string]string {
	written := map[string]string{
		AnnotationGeneration:         strconv.FormatInt(r.Generation, 10),
		annotationPodSecurityDefault: string(r.PodSecurityDefault),
		annotationPodSecurityMaximum: string(r.PodSecurityMaximum),
	}
	if r.IsSuspended {
		written[annotationSuspended] = "true"
	}
	if r.PriorityClass != "" {
		written[annotationPriorityClass] = r.PriorityClass
	}
	if r.SyncWeight > 1 {
		written[annotationSyncWeight] = strconv.Itoa(int(r.SyncWeight))
	}
	for key, allowed := range map[string]Classes{
		annotationStorageClasses: r.StorageClasses, annotationIngressClasses: r.IngressClasses, annotationRuntimeClasses: r.RuntimeClasses,
	} {
		if allowed.isLimited {
			written[key] = strings.Join(allowed.names, ",")
		}
	}
	if len(r.NodeSelector) > 0 {
		pairs := make([]string, 0, len(r.NodeSelector))
		for _, key := range slices.Sorted(maps.Keys(r.NodeSelector)) {
			pairs = append(pairs, key+"="+r.NodeSelector[key])
		}
		written[annotationNodeSelector] = strings.Join(pairs, ",")
	}
	if len(r.Tolerations) > 0 {
		granted := make([]string, 0, len(r.Tolerations))
		for _, toleration := range r.Tolerations {
			granted = append(granted, writeToleration(toleration))
		}
		written[annotationTolerations] = strings.Join(granted, ",")
	}
	return written
}

func writeToleration(toleration corev1.Toleration) string {
	operator, seconds := toleration.Operator, ""
	if operator == "" {
		operator = corev1.TolerationOpEqual
	}
	if toleration.TolerationSeconds != nil {
		seconds = strconv.FormatInt(*toleration.TolerationSeconds, 10)
	}
	return strings.Join([]string{toleration.Key, string(operator), toleration.Value, string(toleration.Effect), seconds}, "|")
}

// Put makes the metadata of a namespace that of a namespace of the account: its label and the rules, without those of another
// time.
func (r Rules) Put(meta *metav1.ObjectMeta) {
	metav1.SetMetaDataLabel(meta, mapping.LabelAccount, r.Account)
	maps.DeleteFunc(meta.Annotations, func(key, _ string) bool { return strings.HasPrefix(key, AnnotationPrefix) })
	for key, value := range r.Annotations() {
		metav1.SetMetaDataAnnotation(meta, key, value)
	}
}

// ArePut tells whether Put would change nothing.
func (r Rules) ArePut(meta *metav1.ObjectMeta) bool {
	if meta.Labels[mapping.LabelAccount] != r.Account {
		return false
	}
	have := maps.Clone(meta.Annotations)
	maps.DeleteFunc(have, func(key, _ string) bool { return !strings.HasPrefix(key, AnnotationPrefix) })
	return maps.Equal(have, r.Annotations())
}

// HasPlace tells whether a namespace is marked as the account's and has rules, of whichever generation.
func (r Rules) HasPlace(meta *metav1.ObjectMeta) bool {
	_, hasRules := meta.Annotations[AnnotationGeneration]
	return hasRules && meta.Labels[mapping.LabelAccount] == r.Account
}

// AccountOf is the account that a namespace belongs to, or "".
func AccountOf(namespace *corev1.Namespace) string { return namespace.Labels[mapping.LabelAccount] }

// Of reads the rules of a namespace of an account. Ok is false for a namespace that belongs to none, or whose rules are not
// there yet.
func Of(namespace *corev1.Namespace) (read Rules, ok bool, err error) {
	account, written := AccountOf(namespace), namespace.Annotations
	generation, isPut := written[AnnotationGeneration]
	if account == "" || !isPut {
		return Rules{}, false, nil
	}
	read = Rules{
		Account:            account,
		IsSuspended:        written[annotationSuspended] == "true",
		PodSecurityDefault: tenancyv1alpha1.PodSecurityLevel(written[annotationPodSecurityDefault]),
		PodSecurityMaximum: tenancyv1alpha1.PodSecurityLevel(written[annotationPodSecurityMaximum]),
		StorageClasses:     readClasses(written, annotationStorageClasses),
		IngressClasses:     readClasses(written, annotationIngressClasses),
		RuntimeClasses:     readClasses(written, annotationRuntimeClasses),
		NodeSelector:       readSelector(written[annotationNodeSelector]),
		PriorityClass:      written[annotationPriorityClass],
	}
	if read.Generation, err = strconv.ParseInt(generation, 10, 64); err != nil {
		return Rules{}, false, fmt.Errorf("read annotation %s of Namespace %q: %w", AnnotationGeneration, namespace.Name, err)
	}
	if read.SyncWeight, err = readWeight(written[annotationSyncWeight]); err != nil {
		return Rules{}, false, fmt.Errorf("read annotation %s of Namespace %q: %w", annotationSyncWeight, namespace.Name, err)
	}
	if read.Tolerations, err = readTolerations(written[annotationTolerations]); err != nil {
		return Rules{}, false, fmt.Errorf("read annotation %s of Namespace %q: %w", annotationTolerations, namespace.Name, err)
	}
	return read, true, nil
}

func readWeight(written string) (int32, error) {
	if written == "" {
		return 0, nil
	}
	weight, err := strconv.ParseInt(written, 10, 32)
	return int32(weight), err
}

func readClasses(written map[string]string, key string) Classes {
	names, isLimited := written[key]
	switch {
	case !isLimited:
		return Classes{}
	case names == "":
		return OnlyClasses()
	}
	return OnlyClasses(strings.Split(names, ",")...)
}

func readSelector(written string) map[string]string {
	if written == "" {
		return nil
	}
	selector := map[string]string{}
	for _, pair := range strings.Split(written, ",") {
		key, value, _ := strings.Cut(pair, "=")
		selector[key] = value
	}
	return selector
}

func readTolerations(written string) ([]corev1.Toleration, error) {
	if written == "" {
		return nil, nil
	}
	var granted []corev1.Toleration
	for _, one := range strings.Split(written, ",") {
		parts := strings.Split(one, "|")
		if len(parts) != 5 {
			return nil, fmt.Errorf("%q has %d parts instead of 5", one, len(parts))
		}
		toleration := corev1.Toleration{
			Key: parts[0], Operator: corev1.TolerationOperator(parts[1]), Value: parts[2], Effect: corev1.TaintEffect(parts[3]),
		}
		if parts[4] != "" {
			seconds, err := strconv.ParseInt(parts[4], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("read the seconds of %q: %w", one, err)
			}
			toleration.TolerationSeconds = &seconds
		}
		granted = append(granted, toleration)
	}
	return granted, nil
}

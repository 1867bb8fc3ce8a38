package space

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rulekeeper"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

const podSecurityEnforce = "pod-security.kubernetes.io/enforce"

// IsNamespaceOf tells whether a namespace is that of a space.
func IsNamespaceOf(namespace *corev1.Namespace, space *tenancyv1alpha1.Space) bool {
	return namespace.Name == space.Name &&
		namespace.Labels[mapping.LabelKind] == mapping.KindSpace &&
		namespace.Labels[mapping.LabelSpaceUID] == string(space.UID)
}

// namespaceLabels are the labels that the agent keeps on the namespace of a space. A nil value means that the label is absent.
func namespaceLabels(space *tenancyv1alpha1.Space, account *tenancyv1alpha1.Account) map[string]*string {
	podSecurity := string(account.Spec.PodSecurity.Default)
	if podSecurity == "" {
		podSecurity = string(tenancyv1alpha1.PodSecurityBaseline)
	}
	labels := map[string]*string{
		mapping.LabelKind:      new(mapping.KindSpace),
		mapping.LabelAccount:   new(account.Name),
		mapping.LabelSpaceUID:  new(string(space.UID)),
		mapping.LabelSuspended: nil,
		podSecurityEnforce:     &podSecurity,
	}
	if account.Spec.Suspended {
		labels[mapping.LabelSuspended] = new("true")
	}
	return labels
}

// ensureNamespace makes the namespace of a space, or brings it back into shape. A verdict says why it is not to be had.
func (r *Reconciler) ensureNamespace(ctx context.Context, space *tenancyv1alpha1.Space, account *tenancyv1alpha1.Account) (*corev1.Namespace, *verdict, error) {
	namespace, err := r.findNamespace(ctx, space)
	if err != nil {
		return nil, nil, err
	}
	held, invalid, err := r.rules(ctx, account)
	if err != nil {
		return nil, nil, err
	}
	if hasRules := namespace != nil && held.HasPlace(&namespace.ObjectMeta); !hasRules && invalid != nil {
		wrong := &verdict{reason: reasonInvalidRules, after: later, message: "An admin of the host cluster must correct the account: " + invalid.Error()}
		return nil, wrong, nil //nolint:nilerr // invalid rules are the account's state, not a failure of the reconciler
	}
	if namespace == nil {
		namespace, err = r.createNamespace(ctx, space, account, held)
		return namespace, nil, err
	}
	if !namespace.DeletionTimestamp.IsZero() {
		return nil, &verdict{reason: reasonTerminating, after: later, message: "Waiting for the end of a namespace of this name"}, nil
	}
	if !IsNamespaceOf(namespace, space) {
		if taken := r.isTaken(space, namespace); taken != nil {
			return nil, taken, nil
		}
	}
	return namespace, nil, r.shape(ctx, namespace, namespaceLabels(space, account), held)
}

// rules are those of the account. They are on a namespace from its first moment; package rulekeeper follows their changes.
func (r *Reconciler) rules(ctx context.Context, account *tenancyv1alpha1.Account) (held rules.Rules, invalid, err error) {
	defaultClass, err := rulekeeper.DefaultPriorityClass(ctx, r.cached)
	if err != nil {
		return rules.Rules{}, nil, err
	}
	held, invalid = rules.FromAccount(account, defaultClass)
	return held, invalid, nil
}

// findNamespace asks the API server for what the watch does not show: only labelled namespaces are watched.
func (r *Reconciler) findNamespace(ctx context.Context, space *tenancyv1alpha1.Space) (*corev1.Namespace, error) {
	key := client.ObjectKey{Name: space.Name}
	for _, reader := range []client.Reader{r.cached, r.host} {
		var namespace corev1.Namespace
		err := reader.Get(ctx, key, &namespace)
		if err == nil {
			return &namespace, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("get Namespace %q: %w", space.Name, err)
		}
	}
	return nil, nil
}

func (r *Reconciler) createNamespace(ctx context.Context, space *tenancyv1alpha1.Space, account *tenancyv1alpha1.Account, held rules.Rules) (*corev1.Namespace, error) {
	labels := map[string]string{}
	for key, value := range namespaceLabels(space, account) {
		if value != nil {
			labels[key] = *value
		}
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space.Name, Labels: labels}}
	held.Put(&namespace.ObjectMeta)
	if err := r.host.Create(ctx, namespace, fieldManager); err != nil {
		return nil, fmt.Errorf("create Namespace %q: %w", space.Name, err)
	}
	r.log.Info("Made the namespace of a space", "space", space.Name, "account", account.Name)
	return namespace, nil
}

// isLeftBy tells whether a namespace is of a former space of the account, whose object was removed by force or has not come back
// from a backup. There is no other space of its name than the one that asks.
func isLeftBy(namespace *corev1.Namespace, account string) bool {
	return namespace.Labels[mapping.LabelKind] == mapping.KindSpace && namespace.Labels[mapping.LabelAccount] == account
}

// isTaken says why a namespace that is not the space's is not taken over, or nil if it is.
func (r *Reconciler) isTaken(space *tenancyv1alpha1.Space, namespace *corev1.Namespace) *verdict {
	// What is not the agent's is not watched.
	taken := &verdict{reason: tenancyv1alpha1.ReasonNamespaceTaken, after: 5 * time.Second}
	switch {
	case namespace.Labels[mapping.LabelKind] != "" && !isLeftBy(namespace, space.Spec.Account):
		taken.message = fmt.Sprintf("The namespace %q belongs to something else; choose another name", space.Name)
	case !space.Spec.Adopt:
		taken.message = fmt.Sprintf("There is a namespace %q already that is not a space; choose another name, or delete this space and create it with spec.adopt to take the namespace over", space.Name)
	case namespace.Labels[mapping.LabelAdopt] != space.Spec.Account:
		taken.message = fmt.Sprintf("The namespace %q is not released to the account; whoever it belongs to runs: kubectl label namespace %s %s=%s",
			space.Name, space.Name, mapping.LabelAdopt, space.Spec.Account)
	default:
		return nil
	}
	return taken
}

// shape brings the labels of a namespace into the wanted form, if somebody has changed them or they were never so. The rules of
// the account come with them where there are none.
func (r *Reconciler) shape(ctx context.Context, namespace *corev1.Namespace, wanted map[string]*string, held rules.Rules) error {
	hasRules := held.HasPlace(&namespace.ObjectMeta)
	isSame := hasRules
	for key, value := range wanted {
		present, has := namespace.Labels[key]
		if (value != nil) != has || (value != nil && present != *value) {
			isSame = false
		}
	}
	if isSame {
		return nil
	}
	metadata := map[string]any{"uid": namespace.UID, "resourceVersion": namespace.ResourceVersion, "labels": wanted}
	if !hasRules {
		metadata["annotations"] = held.Annotations()
	}
	body, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return fmt.Errorf("write the labels of Namespace %q: %w", namespace.Name, err)
	}
	if err := r.host.Patch(ctx, namespace, client.RawPatch(types.MergePatchType, body), fieldManager); err != nil {
		return fmt.Errorf("label Namespace %q: %w", namespace.Name, err)
	}
	return nil
}

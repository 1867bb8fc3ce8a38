package template

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// podAccount is the ServiceAccount of pods that name none.
const podAccount = "default"

// applyToSpace does what a space template does beside its objects: the metadata of the namespace and the pull secrets of its pods.
func (a *attempt) applyToSpace(ctx context.Context, space *tenancyv1alpha1.Space, made *rendered) error {
	if a.instance.Spec.SpaceTemplate == "" {
		return nil
	}
	if err := a.labelNamespace(ctx, space, made); err != nil {
		return err
	}
	return a.pullSecrets(ctx, made.pullSecrets)
}

// labelNamespace applies the metadata of the namespace with the rights of the agent. The instance owns what it sets and nothing else.
func (a *attempt) labelNamespace(ctx context.Context, space *tenancyv1alpha1.Space, made *rendered) error {
	var namespace corev1.Namespace
	if err := a.cached.Get(ctx, client.ObjectKey{Name: space.Name}, &namespace); err != nil {
		return fmt.Errorf("get Namespace %q: %w", space.Name, err)
	}
	if a.isSame && holds(namespace.Labels, made.Labels) && holds(namespace.Annotations, made.Annotations) {
		return nil
	}
	if a.instance.Status.FirstApplied == nil && len(made.Labels)+len(made.Annotations) == 0 {
		return nil
	}
	err := applyMetadata(ctx, a.host, space.Name, space.Status.NamespaceUID, a.instance.Name, made.Labels, made.Annotations)
	if apierrors.IsConflict(err) && a.instance.Name != accountInstance {
		return problem(tenancyv1alpha1.ReasonObjectTaken, "labels or annotations of the namespace are set by somebody else: %s", cut(err.Error()))
	}
	return err
}

func holds(present, wanted map[string]string) bool {
	for key, value := range wanted {
		if there, ok := present[key]; !ok || there != value {
			return false
		}
	}
	return true
}

// applyMetadata sets labels and annotations of a namespace for an instance, and removes those that it had set before. The template
// of the account comes before that of the space.
func applyMetadata(ctx context.Context, host client.Client, name string, uid types.UID, instance string, labels, annotations map[string]string) error {
	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": name, "uid": uid, "labels": labels, "annotations": annotations},
	})
	if err != nil {
		return fmt.Errorf("write the labels of Namespace %q: %w", name, err)
	}
	options := []client.PatchOption{client.FieldOwner("matryoshka-template-" + instance)}
	if instance == accountInstance {
		options = append(options, client.ForceOwnership)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := host.Patch(ctx, namespace, client.RawPatch(types.ApplyPatchType, body), options...); err != nil {
		return fmt.Errorf("label Namespace %q: %w", name, err)
	}
	return nil
}

// checkAccount waits for the ServiceAccount that pull secrets are put into: the host makes it soon after the namespace.
func (a *attempt) checkAccount(ctx context.Context, made *rendered) error {
	if len(made.pullSecrets) == 0 && len(a.status.ImagePullSecrets) == 0 {
		return nil
	}
	_, err := a.account(ctx)
	return err
}

func (a *attempt) account(ctx context.Context) (*corev1.ServiceAccount, error) {
	var account corev1.ServiceAccount
	err := a.impersonating.Get(a.identity(ctx, a.instance), client.ObjectKey{Namespace: a.instance.Namespace, Name: podAccount}, &account)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("ServiceAccount %q: %w", podAccount, errNotYet)
	}
	if err != nil {
		return nil, fmt.Errorf("get ServiceAccount %q: %w", podAccount, err)
	}
	return &account, nil
}

// pullSecrets puts the wanted pull secrets into the ServiceAccount default and takes those out that were put there before.
func (a *attempt) pullSecrets(ctx context.Context, wanted []string) error {
	if len(wanted) == 0 && len(a.status.ImagePullSecrets) == 0 {
		return nil
	}
	account, err := a.account(ctx)
	if err != nil {
		return err
	}
	secrets := slices.DeleteFunc(slices.Clone(account.ImagePullSecrets), func(present corev1.LocalObjectReference) bool {
		return slices.Contains(a.status.ImagePullSecrets, present.Name) && !slices.Contains(wanted, present.Name)
	})
	for _, name := range wanted {
		if reference := (corev1.LocalObjectReference{Name: name}); !slices.Contains(secrets, reference) {
			secrets = append(secrets, reference)
		}
	}
	if !slices.Equal(secrets, account.ImagePullSecrets) {
		account.ImagePullSecrets = secrets
		// The list cannot be shared by field managers; the version keeps what others write meanwhile.
		if err := a.impersonating.Update(a.identity(ctx, a.instance), account, fieldManager); err != nil {
			return fmt.Errorf("put pull secrets into ServiceAccount %q: %w", podAccount, err)
		}
	}
	a.status.ImagePullSecrets = wanted
	return nil
}

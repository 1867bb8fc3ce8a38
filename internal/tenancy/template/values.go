package template

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/parameter"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/render"
)

// maxValue is how large a value from a Secret may be, as large as one that is written down.
const maxValue = 16384

// given reads the values of an instance. Secrets are read as the space's own identity: nobody gets a value by way of a template
// that he could not read himself.
func (r *Reconciler) given(ctx context.Context, instance *tenancyv1alpha1.TemplateInstance) ([]parameter.Given, error) {
	all := make([]parameter.Given, 0, len(instance.Spec.Parameters))
	secrets := map[string]*corev1.Secret{}
	for _, p := range instance.Spec.Parameters {
		if p.ValueFrom == nil {
			given := parameter.Given{Name: p.Name}
			if p.Value != nil {
				given.Text = *p.Value
			}
			all = append(all, given)
			continue
		}
		reference := p.ValueFrom.SecretKeyRef
		secret, known := secrets[reference.Name]
		if !known {
			secret = &corev1.Secret{}
			err := r.impersonating.Get(r.identity(ctx, instance), client.ObjectKey{Namespace: instance.Namespace, Name: reference.Name}, secret)
			switch {
			case apierrors.IsNotFound(err):
				return nil, problem(tenancyv1alpha1.ReasonSecretMissing, "parameter %q: there is no Secret %q in the space", p.Name, reference.Name)
			case apierrors.IsForbidden(err):
				return nil, problem(tenancyv1alpha1.ReasonSecretMissing, "parameter %q: Secret %q cannot be read with the rights of the space", p.Name, reference.Name)
			case err != nil:
				return nil, fmt.Errorf("get Secret %q: %w", reference.Name, err)
			}
			secrets[reference.Name] = secret
		}
		value, ok := secret.Data[reference.Key]
		if !ok || len(value) > maxValue {
			return nil, problem(tenancyv1alpha1.ReasonSecretMissing, "parameter %q: Secret %q has no key %q, or more than %d bytes under it", p.Name, reference.Name, reference.Key, maxValue)
		}
		all = append(all, parameter.Given{Name: p.Name, Text: string(value), Secret: true})
	}
	return all, nil
}

// rendered is what an instance is to be.
type rendered struct {
	*render.Result
	// isMandatory keeps the objects from the space's people.
	isMandatory bool
	// pullSecrets are for the ServiceAccount default.
	pullSecrets []string
	fingerprint string
}

// render makes the objects of an instance.
func (r *Reconciler) render(ctx context.Context, instance *tenancyv1alpha1.TemplateInstance, account string) (*rendered, error) {
	given, err := r.given(ctx, instance)
	if err != nil {
		return nil, err
	}
	target := render.Target{Namespace: instance.Namespace, Account: account, Instance: instance.Name}
	if instance.Spec.SpaceTemplate == "" {
		result, err := r.renderer.Instance(ctx, instance.Spec.Template, given, target)
		if err != nil {
			return nil, err
		}
		return fingerprint(&rendered{Result: result})
	}
	var template tenancyv1alpha1.SpaceTemplate
	err = r.cached.Get(ctx, client.ObjectKey{Name: instance.Spec.SpaceTemplate}, &template)
	if apierrors.IsNotFound(err) {
		return nil, problem(tenancyv1alpha1.ReasonTemplateMissing, "there is no SpaceTemplate %q; ask an admin of the host cluster", instance.Spec.SpaceTemplate)
	}
	if err != nil {
		return nil, fmt.Errorf("get SpaceTemplate %q: %w", instance.Spec.SpaceTemplate, err)
	}
	result, err := r.renderer.Space(ctx, &template, given, target)
	if err != nil {
		return nil, err
	}
	made := &rendered{Result: result, isMandatory: isMandatory(&template)}
	if err := r.offered(ctx, instance.Namespace, &template, made); err != nil {
		return nil, err
	}
	return fingerprint(made)
}

func isMandatory(template *tenancyv1alpha1.SpaceTemplate) bool {
	return template.Spec.Mandatory == nil || *template.Spec.Mandatory
}

// offered adds copies of the Secrets that the agent's namespace offers.
func (r *Reconciler) offered(ctx context.Context, namespace string, template *tenancyv1alpha1.SpaceTemplate, made *rendered) error {
	for _, offered := range template.Spec.Secrets {
		var secret corev1.Secret
		err := r.impersonating.Get(as(ctx, r.options.SystemNamespace, SpaceIdentity), client.ObjectKey{Namespace: r.options.SystemNamespace, Name: offered.Name}, &secret)
		if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || err == nil && !isOffered(&secret) {
			return problem(tenancyv1alpha1.ReasonSecretMissing,
				"Secret %q of the agent's namespace is not offered to spaces; an admin of the host cluster labels it %s=true and names it in the chart's value templates.offeredSecrets",
				offered.Name, mapping.LabelOffer)
		}
		if err != nil {
			return fmt.Errorf("get the offered Secret %q: %w", offered.Name, err)
		}
		copied, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&corev1.Secret{Data: secret.Data, Type: secret.Type})
		if err != nil {
			return fmt.Errorf("copy the offered Secret %q: %w", offered.Name, err)
		}
		object := &unstructured.Unstructured{Object: copied}
		delete(object.Object, "metadata")
		object.SetAPIVersion("v1")
		object.SetKind("Secret")
		object.SetNamespace(namespace)
		object.SetName(offered.Name)
		for _, other := range made.Objects {
			if other.GetKind() == "Secret" && other.GetName() == offered.Name {
				return problem(tenancyv1alpha1.ReasonRenderFailed, "Secret %q is an object of the template and offered", offered.Name)
			}
		}
		made.Objects = append(made.Objects, object)
		made.HasSecrets = true
		if offered.ImagePull {
			made.pullSecrets = append(made.pullSecrets, offered.Name)
		}
	}
	return nil
}

// isOffered tells whether a Secret may be copied. Tokens of service accounts never are: their copies would be the host's to fill.
func isOffered(secret *corev1.Secret) bool {
	return secret.Labels[mapping.LabelOffer] == "true" && secret.Type != corev1.SecretTypeServiceAccountToken
}

// fingerprint tells this rendering from others.
func fingerprint(made *rendered) (*rendered, error) {
	encoded, err := json.Marshal([]any{made.Objects, made.Labels, made.Annotations, made.isMandatory, made.pullSecrets})
	if err != nil {
		return nil, fmt.Errorf("write the objects: %w", err)
	}
	sum := sha256.Sum256(encoded)
	made.fingerprint = hex.EncodeToString(sum[:8])
	return made, nil
}

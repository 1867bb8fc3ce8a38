package noun

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/visible"
)

// pageSize bounds what one call of the host's API returns.
const pageSize = 500

// Get reads one object, with an error that helps when there is none, or can be none of this name.
func (k *Kind[T]) Get(ctx context.Context, cluster client.Reader, key client.ObjectKey) (T, error) {
	object := k.Empty()
	if err := k.ValidateName(key.Name); err != nil {
		return object, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := cluster.Get(ctx, key, object); err != nil {
		return object, k.Explain(fmt.Errorf("get %s %q: %w", k.Title, k.keyLabel(key), err), key.Namespace)
	}
	object.GetObjectKind().SetGroupVersionKind(k.Kind)
	return object, nil
}

func (k *Kind[T]) keyLabel(key client.ObjectKey) string {
	if k.Namespaced {
		return key.String()
	}
	return key.Name
}

// Explain adds what to do next to the errors that everybody meets: no such object, not one's own, and a host cluster without the
// product.
func (k *Kind[T]) Explain(err error, namespace string) error {
	switch {
	case IsNotInstalled(err):
		return exit.WithNext(err, "the host cluster does not know %s: `matry install` installs Matryoshka there", k.Titles)
	case apierrors.IsNotFound(err) && k.Namespaced:
		return exit.WithNext(err, "`matry get %s -n %s` lists those of this namespace, -A all", k.Plural, namespace)
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err) && !k.Namespaced:
		return exit.WithNext(err, "`matry get %s` lists those that you may see", k.Plural)
	}
	return err
}

// IsNotInstalled tells a host cluster without our resource from one without the object: the former answers with a page
// that is not an API status.
func IsNotInstalled(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// selection is what a list is about.
type selection struct {
	// namespace is empty for everything that the user may see.
	namespace string
	selector  labels.Selector
}

func (s selection) options() []client.ListOption {
	return []client.ListOption{client.InNamespace(s.namespace), client.MatchingLabelsSelector{Selector: s.selector}}
}

// list reads what is selected, all pages of it. Who may not list everything gets what the rules name as theirs.
func (k *Kind[T]) list(ctx context.Context, cluster client.Client, what selection) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	items, err := k.pages(ctx, cluster, what)
	if apierrors.IsForbidden(err) && what.namespace == "" {
		items, err = k.mine(ctx, cluster, what.selector, err)
	}
	if err != nil {
		return nil, k.Explain(fmt.Errorf("list %s: %w", k.Titles, err), what.namespace)
	}
	return items, nil
}

func (k *Kind[T]) pages(ctx context.Context, cluster client.Reader, what selection) ([]T, error) {
	var all []T
	for next := ""; ; {
		page := k.EmptyList()
		if err := cluster.List(ctx, page, append(what.options(), client.Limit(pageSize), client.Continue(next))...); err != nil {
			return nil, err
		}
		items, err := k.itemsOf(page)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if next = page.GetContinue(); next == "" {
			return all, nil
		}
	}
}

// mine reads what the user's rules name. The refusal is the answer when they name no single objects.
func (k *Kind[T]) mine(ctx context.Context, cluster client.Client, selector labels.Selector, refusal error) ([]T, error) {
	if k.Namespaced {
		return k.inMySpaces(ctx, cluster, selector, refusal)
	}
	found, err := visible.Find(ctx, visible.Self(cluster), k.Plural, visible.VerbGet, nil)
	if err != nil {
		return nil, err
	}
	if found.All() {
		return nil, refusal
	}
	objects, err := visible.Read(ctx, cluster, found.Sorted(), k.Empty)
	if err != nil {
		return nil, err
	}
	kept := objects[:0]
	for _, object := range objects {
		if selector.Matches(labels.Set(object.GetLabels())) {
			kept = append(kept, object)
		}
	}
	return kept, nil
}

func (k *Kind[T]) inMySpaces(ctx context.Context, cluster client.Client, selector labels.Selector, refusal error) ([]T, error) {
	spaces, err := mySpaces(ctx, cluster)
	if err != nil {
		return nil, err
	}
	if spaces.All() {
		return nil, refusal
	}
	lists, err := visible.ListIn(ctx, cluster, spaces.Sorted(), k.EmptyList, client.MatchingLabelsSelector{Selector: selector})
	if err != nil {
		return nil, err
	}
	var all []T
	for _, list := range lists {
		items, err := k.itemsOf(list)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
	}
	return all, nil
}

// mySpaces are the names of the spaces that the user may read.
func mySpaces(ctx context.Context, cluster client.Client) (visible.Found, error) {
	return visible.Find(ctx, visible.Self(cluster), visible.Spaces, visible.VerbGet, nil)
}

// itemsOf are the items of a list.
func (k *Kind[T]) itemsOf(list client.ObjectList) ([]T, error) {
	objects, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	items := make([]T, 0, len(objects))
	for _, object := range objects {
		item, isOne := object.(T)
		if !isOne {
			return nil, fmt.Errorf("the list holds a %T", object)
		}
		items = append(items, item)
	}
	return items, nil
}

// listOf makes a list of items, for printing. Without items it is an empty list, not null.
func (k *Kind[T]) listOf(items []T) (client.ObjectList, error) {
	list := k.EmptyList()
	objects := make([]runtime.Object, 0, len(items))
	for _, item := range items {
		objects = append(objects, item)
	}
	return list, meta.SetList(list, objects)
}

// List reads all objects of the kind that the user may see.
func (k *Kind[T]) List(ctx context.Context, cluster client.Client) ([]T, error) {
	return k.list(ctx, cluster, selection{selector: labels.Everything()})
}

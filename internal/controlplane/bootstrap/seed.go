package bootstrap

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes/scheme"
	schedulingdefaults "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

// systemNamespaces are those of every Kubernetes cluster.
var systemNamespaces = []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease}

// Datastore is what Seed writes to.
type Datastore interface {
	// Empty tells whether no key has the prefix.
	Empty(ctx context.Context, prefix string) (bool, error)
	// Create writes a key that is absent and leaves a present one alone.
	Create(ctx context.Context, key string, value []byte) error
}

// Seed writes the system objects into an empty datastore, as the API server would store them. It is an optimization
// alone: it runs while the API server is built, and without it Ensure would make the same objects one request each.
// A datastore with data is left to Ensure, which also reconciles.
func Seed(ctx context.Context, store Datastore, prefix string) error {
	empty, err := store.Empty(ctx, prefix)
	if err != nil || !empty {
		return err
	}
	objects, err := seedObjects()
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for _, object := range objects {
		group.Go(func() error {
			if err := store.Create(groupCtx, prefix+object.key, object.value); err != nil {
				return fmt.Errorf("seed %q: %w", object.key, err)
			}
			return nil
		})
	}
	return group.Wait()
}

type seedObject struct {
	key   string
	value []byte
}

func seedObjects() ([]seedObject, error) {
	s := &seeder{now: metav1.NewTime(time.Now().Truncate(time.Second))}
	for _, name := range systemNamespaces {
		s.add("/namespaces/"+name, corev1.SchemeGroupVersion, &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelMetadataName: name}},
			Spec:       corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{corev1.FinalizerKubernetes}},
			Status:     corev1.NamespaceStatus{Phase: corev1.NamespaceActive},
		})
	}
	for _, class := range schedulingdefaults.SystemPriorityClasses() {
		class = class.DeepCopy()
		schedulingdefaults.SetDefaults_PriorityClass(class)
		class.Generation = 1
		s.add("/priorityclasses/"+class.Name, schedulingv1.SchemeGroupVersion, class)
	}
	s.addRBAC()
	return s.objects, s.err
}

type seeder struct {
	now     metav1.Time
	objects []seedObject
	err     error
}

func (s *seeder) addRBAC() {
	for _, role := range allClusterRoles() {
		s.add("/clusterroles/"+role.Name, rbacv1.SchemeGroupVersion, &role)
	}
	for _, binding := range append(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()...) {
		s.add("/clusterrolebindings/"+binding.Name, rbacv1.SchemeGroupVersion, &binding)
	}
	for namespace, roles := range bootstrappolicy.NamespaceRoles() {
		for _, role := range roles {
			s.add("/roles/"+namespace+"/"+role.Name, rbacv1.SchemeGroupVersion, &role)
		}
	}
	for namespace, bindings := range bootstrappolicy.NamespaceRoleBindings() {
		for _, binding := range bindings {
			s.add("/rolebindings/"+namespace+"/"+binding.Name, rbacv1.SchemeGroupVersion, &binding)
		}
	}
}

type seedable interface {
	runtime.Object
	metav1.Object
}

func (s *seeder) add(key string, version schema.GroupVersion, object seedable) {
	object.SetUID(uuid.NewUUID())
	object.SetCreationTimestamp(s.now)
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		s.err = fmt.Errorf("no serializer for %s", runtime.ContentTypeProtobuf)
		return
	}
	value, err := runtime.Encode(scheme.Codecs.EncoderForVersion(info.Serializer, version), object)
	if err != nil {
		s.err = fmt.Errorf("encode %q: %w", key, err)
		return
	}
	s.objects = append(s.objects, seedObject{key: key, value: value})
}

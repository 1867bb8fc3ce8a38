package integration

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

const (
	convergenceSteps = 250
	pool             = 5
	convergence      = "convergence"
)

// chaos edits objects of a small pool on both sides at random. Errors of single edits do not matter: the object may
// just be there, be gone, or have been written by the sync.
type chaos struct {
	*world
	t             *testing.T
	random        *rand.Rand
	hostNamespace string
}

func (c *chaos) pick(name string) string { return fmt.Sprintf("%s-%d", name, c.random.IntN(pool)) }

func (c *chaos) step() {
	edits := []func(){
		c.tenantService, c.tenantService, c.hostService, c.tenantSlice, c.hostSlice, c.tenantClaim, c.hostClaim, c.hostClass, c.tenantClass,
	}
	edits[c.random.IntN(len(edits))]()
}

// edit changes an object if it is there, and tells whether it is.
func edit[T client.Object](c *chaos, in client.Client, object T, change func(T)) bool {
	if err := in.Get(c.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		return false
	}
	change(object)
	_ = in.Update(c.t.Context(), object)
	return true
}

func (c *chaos) delete(in client.Client, object client.Object) { _ = in.Delete(c.t.Context(), object) }

func (c *chaos) tenantService() {
	number := c.random.IntN(pool)
	object := newService(convergence, fmt.Sprintf("service-%d", number), fmt.Sprintf("10.96.30.%d", number+1), withoutSelector)
	if c.random.IntN(6) == 0 {
		c.delete(c.virtual, object)
		return
	}
	found := edit(c, c.virtual, object.DeepCopy(), func(service *corev1.Service) {
		// No node ports: an API server commits their allocation before it stores the Service, so one that is changed by two
		// at once may leave the port taken until the server's repair loop has seen it three times. See "service types".
		switch c.random.IntN(3) {
		case 0:
			service.Labels = map[string]string{"team": c.pick("team")}
		case 1:
			service.Spec.Ports[0].TargetPort = intstr.FromInt32(int32(8000 + c.random.IntN(100)))
		case 2:
			service.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
			service.Spec.PublishNotReadyAddresses = c.random.IntN(2) == 0
		}
	})
	if !found {
		_ = c.virtual.Create(c.t.Context(), object)
	}
}

func (c *chaos) hostService() {
	object := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: c.hostNamespace, Name: c.pick("service")}}
	if c.random.IntN(5) == 0 {
		c.delete(c.host, object)
		return
	}
	edit(c, c.host, object, func(service *corev1.Service) {
		switch c.random.IntN(4) {
		case 0:
			service.Spec.Selector = map[string]string{"app": "evil"}
		case 1:
			service.Labels["team"] = "evil"
			service.Labels["operator"] = "kept"
		case 2:
			service.Spec.Ports[0].TargetPort = intstr.FromInt32(6666)
		case 3:
			delete(service.Annotations, mapping.AnnotationTenantUID)
		}
	})
}

func (c *chaos) tenantSlice() {
	number := c.random.IntN(pool)
	address := fmt.Sprintf("198.51.100.%d", 1+c.random.IntN(200))
	object := newSlice(convergence, fmt.Sprintf("slice-%d", number), fmt.Sprintf("service-%d", number), address)
	if c.random.IntN(6) == 0 {
		c.delete(c.virtual, object)
		return
	}
	if !edit(c, c.virtual, object.DeepCopy(), func(slice *discoveryv1.EndpointSlice) { slice.Endpoints[0].Addresses = []string{address} }) {
		_ = c.virtual.Create(c.t.Context(), object)
	}
}

func (c *chaos) hostSlice() {
	object := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: c.hostNamespace, Name: c.pick("slice")}}
	if c.random.IntN(4) == 0 {
		c.delete(c.host, object)
		return
	}
	edit(c, c.host, object, func(slice *discoveryv1.EndpointSlice) {
		slice.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"203.0.113.66"}}}
	})
}

func (c *chaos) tenantClaim() {
	object := newClaim(convergence, c.pick("claim"), "no-such-class")
	if c.random.IntN(4) == 0 {
		c.delete(c.virtual, object)
		return
	}
	found := edit(c, c.virtual, object.DeepCopy(), func(claim *corev1.PersistentVolumeClaim) {
		metav1.SetMetaDataAnnotation(&claim.ObjectMeta, "prometheus.io/path", c.pick("team"))
	})
	if !found {
		_ = c.virtual.Create(c.t.Context(), object)
	}
}

func (c *chaos) hostClaim() {
	object := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: c.hostNamespace, Name: c.pick("claim")}}
	edit(c, c.host, object, func(claim *corev1.PersistentVolumeClaim) {
		metav1.SetMetaDataAnnotation(&claim.ObjectMeta, "prometheus.io/path", "evil")
		metav1.SetMetaDataAnnotation(&claim.ObjectMeta, "volume.kubernetes.io/storage-provisioner", "disk.example.com")
	})
}

func (c *chaos) hostClass() {
	object := newClass(c.pick("chaos-class"))
	if c.random.IntN(3) == 0 {
		c.delete(c.host, object)
		return
	}
	object.ReclaimPolicy = pointer([]corev1.PersistentVolumeReclaimPolicy{corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain}[c.random.IntN(2)])
	found := edit(c, c.host, object.DeepCopy(), func(class *storagev1.StorageClass) { class.AllowVolumeExpansion = pointer(c.random.IntN(2) == 0) })
	if !found {
		_ = c.host.Create(c.t.Context(), object)
	}
}

func (c *chaos) tenantClass() {
	object := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: c.pick("chaos-class")}}
	edit(c, c.virtual, object, func(class *storagev1.StorageClass) {
		class.AllowVolumeExpansion = nil
		metav1.SetMetaDataAnnotation(&class.ObjectMeta, "storageclass.kubernetes.io/is-default-class", "true")
	})
}

// testConvergence: whatever is edited on either side, the host ends with what the tenant wants, and mirrors with what
// the host has.
func testConvergence(t *testing.T, w *world) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &chaos{world: w, t: t, random: rand.New(rand.NewPCG(seed, 0)), hostNamespace: w.namespace(t, convergence)}
	for range convergenceSteps {
		c.step()
		time.Sleep(time.Duration(c.random.IntN(8)) * time.Millisecond) //nolint:forbidigo // when edits meet is part of the random input
	}
	for number := range pool {
		c.awaitServices(fmt.Sprintf("service-%d", number))
		c.awaitSlices(fmt.Sprintf("slice-%d", number), fmt.Sprintf("service-%d", number))
		c.awaitClaims(fmt.Sprintf("claim-%d", number))
		c.awaitClasses(fmt.Sprintf("chaos-class-%d", number))
	}
}

// pair reads an object from both sides; exists tells on which.
func pair[T client.Object](c *chaos, name string, virtual, host T) (hasVirtual, hasHost bool, err error) {
	virtualErr := c.virtual.Get(c.t.Context(), client.ObjectKey{Namespace: convergence, Name: name}, virtual)
	hostErr := c.host.Get(c.t.Context(), client.ObjectKey{Namespace: c.hostNamespace, Name: name}, host)
	for _, err := range []error{virtualErr, hostErr} {
		if err != nil && !apierrors.IsNotFound(err) {
			return false, false, err
		}
	}
	return virtualErr == nil, hostErr == nil, nil
}

func (c *chaos) awaitServices(name string) {
	eventually(c.t, "service "+name, func() error {
		virtual, host := &corev1.Service{}, &corev1.Service{}
		hasVirtual, hasHost, err := pair(c, name, virtual, host)
		if err != nil || hasVirtual != hasHost || !hasVirtual {
			return expect(err == nil && hasVirtual == hasHost, "tenant %v, host %v: %v; tenant's: %+v", hasVirtual, hasHost, err, virtual)
		}
		if diff := cmp.Diff(virtual.Spec, host.Spec); diff != "" {
			return fmt.Errorf("spec (-tenant +host):\n%s", diff)
		}
		return expect(host.Labels["team"] == virtual.Labels["team"] && host.Annotations[mapping.AnnotationTenantUID] == string(virtual.UID),
			"metadata = %+v, tenant's %+v", host.ObjectMeta, virtual.ObjectMeta)
	})
}

func (c *chaos) awaitSlices(name, service string) {
	eventually(c.t, "slice "+name, func() error {
		virtual, host := &discoveryv1.EndpointSlice{}, &discoveryv1.EndpointSlice{}
		hasVirtual, hasHost, err := pair(c, name, virtual, host)
		if err != nil {
			return err
		}
		_, hasService, err := pair(c, service, &corev1.Service{}, &corev1.Service{})
		if err != nil {
			return err
		}
		want := hasVirtual && hasService
		if want != hasHost || !want {
			return expect(want == hasHost, "tenant has the slice: %v, its service: %v; host has the slice: %v", hasVirtual, hasService, hasHost)
		}
		return names(virtual.Endpoints[0].Addresses...)(host)
	})
}

func (c *chaos) awaitClaims(name string) {
	eventually(c.t, "claim "+name, func() error {
		virtual, host := &corev1.PersistentVolumeClaim{}, &corev1.PersistentVolumeClaim{}
		hasVirtual, hasHost, err := pair(c, name, virtual, host)
		if err != nil || hasVirtual != hasHost || !hasVirtual {
			return expect(err == nil && hasVirtual == hasHost, "tenant %v, host %v: %v", hasVirtual, hasHost, err)
		}
		team, wanted := virtual.Annotations["prometheus.io/path"]
		return expect((!wanted || host.Annotations["prometheus.io/path"] == team) && host.Annotations[mapping.AnnotationTenantUID] == string(virtual.UID) &&
			virtual.Annotations[mapping.AnnotationHostUID] == string(host.UID), "tenant %v, host %v", virtual.Annotations, host.Annotations)
	})
}

func (c *chaos) awaitClasses(name string) {
	eventually(c.t, "class "+name, func() error {
		virtual, host := &storagev1.StorageClass{}, &storagev1.StorageClass{}
		virtualErr := c.virtual.Get(c.t.Context(), client.ObjectKey{Name: name}, virtual)
		hostErr := c.host.Get(c.t.Context(), client.ObjectKey{Name: name}, host)
		if virtualErr != nil || hostErr != nil {
			return expect(apierrors.IsNotFound(virtualErr) && apierrors.IsNotFound(hostErr), "tenant: %v, host: %v", virtualErr, hostErr)
		}
		return expect(cmp.Equal(virtual.AllowVolumeExpansion, host.AllowVolumeExpansion) && cmp.Equal(virtual.ReclaimPolicy, host.ReclaimPolicy) &&
			virtual.Annotations["storageclass.kubernetes.io/is-default-class"] == "", "tenant %+v, host %+v", virtual, host)
	})
}

// testSecondLook: an engine that starts anew looks at everything again and finds nothing to write.
func testSecondLook(t *testing.T, w *world, stop func()) {
	var before map[string]string
	eventually(t, "both sides are at rest", func() error {
		before = w.versions(t)
		return throughout(t.Context(), 2*time.Second, func() error {
			diff := cmp.Diff(before, w.versions(t))
			return expect(diff == "", "still being written:\n%s", diff)
		})
	})
	stop()
	w.run(t)
	err := throughout(t.Context(), 3*time.Second, func() error {
		after := w.versions(t)
		maps.DeleteFunc(after, func(key, _ string) bool { _, known := before[key]; return !known })
		diff := cmp.Diff(before, after)
		return expect(diff == "", "(-before +after):\n%s", diff)
	})
	if err != nil {
		t.Errorf("the second look wrote: %v", err)
	}
}

// versions are the resource versions of everything on both sides that the kinds write.
func (w *world) versions(t *testing.T) map[string]string {
	t.Helper()
	versions := map[string]string{}
	lists := func() []client.ObjectList {
		return []client.ObjectList{
			&corev1.ServiceList{}, &discoveryv1.EndpointSliceList{}, &corev1.PersistentVolumeClaimList{}, &corev1.PersistentVolumeList{},
			&storagev1.StorageClassList{},
		}
	}
	for side, from := range map[string]client.Client{"host": w.host, "tenant": w.virtual} {
		for _, list := range lists() {
			if err := from.List(t.Context(), list); err != nil {
				t.Fatal(err)
			}
			err := meta.EachListItem(list, func(item runtime.Object) error {
				object, ok := item.(client.Object)
				if !ok {
					return fmt.Errorf("%T is no object", item)
				}
				versions[fmt.Sprintf("%s %T %s", side, object, client.ObjectKeyFromObject(object))] = object.GetResourceVersion()
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	mirrored := &corev1.EventList{}
	if err := w.virtual.List(t.Context(), mirrored, client.MatchingLabels{mapping.LabelMirror: "true"}); err != nil {
		t.Fatal(err)
	}
	for i := range mirrored.Items {
		versions["tenant event "+client.ObjectKeyFromObject(&mirrored.Items[i]).String()] = mirrored.Items[i].ResourceVersion
	}
	return versions
}

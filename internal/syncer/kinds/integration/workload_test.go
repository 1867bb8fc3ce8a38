package integration

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// references is how many ConfigMaps and Secrets there are names for, which pods refer to.
const references = 8

// workload is what a tenant does in one namespace, at random, and what of it the tenant's API server has acknowledged.
type workload struct {
	*world
	t         *testing.T
	node      *playedNode
	random    *rand.Rand
	namespace string
	count     int
	// have are the objects that were acknowledged and not deleted since, by kind and name.
	have map[string]map[string]types.UID
}

func (w *world) newWorkload(t *testing.T, node *playedNode, namespace string, seed uint64) *workload {
	t.Helper()
	create(t, w.virtual, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	await(t, w.virtual, client.ObjectKey{Namespace: namespace, Name: "default"}, &corev1.ServiceAccount{}, func(*corev1.ServiceAccount) error { return nil })
	have := map[string]map[string]types.UID{}
	for _, kind := range []string{"pod", "service", "configmap", "secret"} {
		have[kind] = map[string]types.UID{}
	}
	return &workload{world: w, t: t, node: node, random: rand.New(rand.NewPCG(seed, 2)), namespace: namespace, have: have}
}

// run does so many things in about so much time.
func (w *workload) run(steps int, within time.Duration) {
	w.t.Helper()
	does := []struct {
		weight int
		step   func()
	}{
		{30, w.createPod},
		{12, w.createService},
		{8, w.createConfigMap},
		{8, w.createSecret},
		{10, w.labelPod},
		{8, w.changeService},
		{8, w.changeConfigMap},
		{8, w.changeSecret},
		{12, w.deletePod},
		{4, w.deleteService},
		{2, w.deleteConfigMap},
		{2, w.deleteSecret},
	}
	var all []func()
	for _, do := range does {
		all = append(all, slices.Repeat([]func(){do.step}, do.weight)...)
	}
	tick := time.NewTicker(within / time.Duration(steps))
	defer tick.Stop()
	for range steps {
		all[w.random.IntN(len(all))]()
		<-tick.C
	}
}

func (w *workload) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: map[string]string{"team": w.word()}}
}

func (w *workload) word() string { return fmt.Sprintf("word-%d", w.random.IntN(1_000_000)) }

// create makes an object. One of that name may be there, or be leaving.
func (w *workload) create(kind string, object client.Object) {
	w.t.Helper()
	err := w.virtual.Create(w.t.Context(), object)
	if apierrors.IsAlreadyExists(err) {
		return
	}
	if err != nil {
		w.t.Fatalf("create %s %q: %v", kind, object.GetName(), err)
	}
	w.have[kind][object.GetName()] = object.GetUID()
}

// pick is one of the objects of a kind; ok is false if there is none.
func (w *workload) pick(kind string) (name string, ok bool) {
	names := slices.Sorted(maps.Keys(w.have[kind]))
	if len(names) == 0 {
		return "", false
	}
	return names[w.random.IntN(len(names))], true
}

func (w *workload) delete(kind string, empty client.Object) {
	w.t.Helper()
	name, ok := w.pick(kind)
	if !ok {
		return
	}
	empty.SetNamespace(w.namespace)
	empty.SetName(name)
	if err := w.virtual.Delete(w.t.Context(), empty); err != nil {
		w.t.Fatalf("delete %s %q, which was acknowledged: %v", kind, name, err)
	}
	delete(w.have[kind], name)
}

// edit changes one of the objects of a kind, whatever the sync writes meanwhile.
func editOne[T client.Object](w *workload, kind string, empty T, edit func(T)) {
	w.t.Helper()
	name, ok := w.pick(kind)
	if !ok {
		return
	}
	empty.SetNamespace(w.namespace)
	empty.SetName(name)
	change(w.t, w.virtual, empty, edit)
}

func (w *workload) createPod() {
	w.count++
	name := fmt.Sprintf("pod-%d", w.count)
	if w.count > 3 && w.random.IntN(5) == 0 {
		name = fmt.Sprintf("pod-%d", 1+w.random.IntN(w.count)) // the name of an earlier one
	}
	optional := true
	w.create("pod", &corev1.Pod{
		ObjectMeta: w.meta(name),
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: pointer(int64(1)), // who deletes a namespace waits for half of it
			Volumes: []corev1.Volume{{Name: "key", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
				SecretName: fmt.Sprintf("secret-%d", w.random.IntN(references)), Optional: &optional,
			}}}},
			Containers: []corev1.Container{{
				Name: "main", Image: "example.test/app:1",
				VolumeMounts: []corev1.VolumeMount{{Name: "key", MountPath: "/key"}},
				EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
					LocalObjectReference: corev1.LocalObjectReference{Name: fmt.Sprintf("configmap-%d", w.random.IntN(references))}, Optional: &optional,
				}}},
			}},
		},
	})
}

func (w *workload) labelPod() {
	editOne(w, "pod", &corev1.Pod{}, func(pod *corev1.Pod) { pod.Labels["team"] = w.word() })
}

func (w *workload) deletePod() { w.delete("pod", &corev1.Pod{}) }

func (w *workload) createService() {
	w.count++
	w.create("service", &corev1.Service{
		ObjectMeta: w.meta(fmt.Sprintf("service-%d", w.count)),
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"team": w.word()}, Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(80)}}},
	})
}

func (w *workload) changeService() {
	editOne(w, "service", &corev1.Service{}, func(service *corev1.Service) {
		service.Spec.Ports[0].TargetPort = intstr.FromInt32(int32(1 + w.random.IntN(60_000)))
		service.Spec.Selector["team"] = w.word()
	})
}

func (w *workload) deleteService() { w.delete("service", &corev1.Service{}) }

func (w *workload) createConfigMap() {
	name := fmt.Sprintf("configmap-%d", w.random.IntN(references))
	w.create("configmap", &corev1.ConfigMap{ObjectMeta: w.meta(name), Data: map[string]string{"word": w.word()}})
}

func (w *workload) changeConfigMap() {
	editOne(w, "configmap", &corev1.ConfigMap{}, func(configMap *corev1.ConfigMap) { configMap.Data["word"] = w.word() })
}

func (w *workload) deleteConfigMap() { w.delete("configmap", &corev1.ConfigMap{}) }

func (w *workload) createSecret() {
	name := fmt.Sprintf("secret-%d", w.random.IntN(references))
	w.create("secret", &corev1.Secret{ObjectMeta: w.meta(name), Data: map[string][]byte{"word": []byte(w.word())}})
}

func (w *workload) changeSecret() {
	editOne(w, "secret", &corev1.Secret{}, func(secret *corev1.Secret) { secret.Data["word"] = []byte(w.word()) })
}

func (w *workload) deleteSecret() { w.delete("secret", &corev1.Secret{}) }

// sides are the objects of one kind on both sides, by name.
type sides[T client.Object] struct{ virtual, host map[string]T }

// listSides lists what is the tenant's own: on the host only copies, in the tenant not what its controllers have made.
func listSides[T client.Object](w *workload, list func() client.ObjectList, ours func(T) bool) (sides[T], error) {
	var found sides[T]
	var errs [2]error
	found.virtual, errs[0] = listNamed(w.t, w.virtual, w.namespace, list(), func(T) bool { return true })
	found.host, errs[1] = listNamed(w.t, w.host, mapping.HostNamespace(w.tenant.ID, w.namespace), list(), ours)
	return found, errors.Join(errs[:]...)
}

func listNamed[T client.Object](t *testing.T, from client.Client, namespace string, list client.ObjectList, wanted func(T) bool) (map[string]T, error) {
	if err := from.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	found := map[string]T{}
	err := meta.EachListItem(list, func(item runtime.Object) error {
		if object, ok := item.(T); ok && wanted(object) {
			found[object.GetName()] = object
		}
		return nil
	})
	return found, err
}

func isCopy[T client.Object](object T) bool {
	_, ok := object.GetAnnotations()[mapping.AnnotationTenantUID]
	return ok
}

// awaitConvergence waits until the tenant has what it was told that it has, and the host what belongs to that, and nothing
// else.
func (w *workload) awaitConvergence(within time.Duration) {
	w.t.Helper()
	began := time.Now()
	eventuallyWithin(w.t, within, "convergence in "+w.namespace, func() error {
		return errors.Join(w.checkPods(), w.checkServices(), w.checkConfigMaps(), w.checkSecrets())
	})
	if err := w.node.check(); err != nil {
		w.t.Error(err)
	}
	w.t.Logf("%s: converged %s after the last write, with %d pods, %d services, %d config maps, %d secrets", w.namespace,
		time.Since(began).Round(time.Millisecond), len(w.have["pod"]), len(w.have["service"]), len(w.have["configmap"]), len(w.have["secret"]))
}

// checkAcknowledged compares what the tenant has with what was acknowledged.
func checkAcknowledged[T client.Object](w *workload, kind string, virtual map[string]T) error {
	for name, uid := range w.have[kind] {
		if object, ok := virtual[name]; !ok || object.GetUID() != uid || object.GetDeletionTimestamp() != nil {
			return fmt.Errorf("%s %q with UID %s was acknowledged; the tenant has %v", kind, name, uid, found(object, ok))
		}
	}
	for name := range virtual {
		if _, ok := w.have[kind][name]; !ok {
			return fmt.Errorf("%s %q was deleted and is still there", kind, name)
		}
	}
	return nil
}

func found(object client.Object, ok bool) string {
	if !ok {
		return "nothing"
	}
	return fmt.Sprintf("UID %s, deleted %v", object.GetUID(), object.GetDeletionTimestamp())
}

// checkCopies compares the names and the UIDs of both sides.
func checkCopies[T client.Object](kind string, both sides[T]) error {
	for name, virtual := range both.virtual {
		host, ok := both.host[name]
		if !ok || host.GetAnnotations()[mapping.AnnotationTenantUID] != string(virtual.GetUID()) || host.GetDeletionTimestamp() != nil {
			return fmt.Errorf("%s %q (%s) has on the host: %s, a copy of %q", kind, name, virtual.GetUID(), found(host, ok), annotation(host, ok))
		}
		if host.GetLabels()["team"] != virtual.GetLabels()["team"] {
			return fmt.Errorf("%s %q has labels %v, on the host %v", kind, name, virtual.GetLabels(), host.GetLabels())
		}
	}
	for name := range both.host {
		if _, ok := both.virtual[name]; !ok {
			return fmt.Errorf("%s %q is left on the host", kind, name)
		}
	}
	return nil
}

func annotation(object client.Object, ok bool) string {
	if !ok {
		return ""
	}
	return object.GetAnnotations()[mapping.AnnotationTenantUID]
}

func (w *workload) pods() (sides[*corev1.Pod], error) {
	return listSides(w, func() client.ObjectList { return &corev1.PodList{} }, func(*corev1.Pod) bool { return true })
}

func (w *workload) checkPods() error {
	both, err := w.pods()
	if err != nil {
		return err
	}
	if err := errors.Join(checkAcknowledged(w, "pod", both.virtual), checkCopies("pod", both)); err != nil {
		return err
	}
	for name, virtual := range both.virtual {
		host := both.host[name]
		if virtual.Spec.NodeName != host.Spec.NodeName || virtual.Status.Phase != corev1.PodRunning || virtual.Status.PodIP != host.Status.PodIP ||
			!equality.Semantic.DeepEqual(virtual.Status.ContainerStatuses, host.Status.ContainerStatuses) {
			return fmt.Errorf("pod %q is %s on %q with status %+v, on the host %+v", name, virtual.Status.Phase, virtual.Spec.NodeName, virtual.Status, host.Status)
		}
	}
	return nil
}

func (w *workload) checkServices() error {
	both, err := listSides(w, func() client.ObjectList { return &corev1.ServiceList{} }, func(*corev1.Service) bool { return true })
	if err != nil {
		return err
	}
	if err := errors.Join(checkAcknowledged(w, "service", both.virtual), checkCopies("service", both)); err != nil {
		return err
	}
	for name, virtual := range both.virtual {
		if diff := cmp.Diff(virtual.Spec, both.host[name].Spec); diff != "" {
			return fmt.Errorf("service %q (-tenant +host):\n%s", name, diff)
		}
		if len(virtual.Status.Conditions) > 0 && virtual.Status.Conditions[0].Status != metav1.ConditionTrue {
			return fmt.Errorf("service %q has conditions %+v", name, virtual.Status.Conditions)
		}
	}
	return nil
}

// referred are the names that the pods refer to.
func (w *workload) referred() (configMaps, secrets map[string]bool, err error) {
	both, err := w.pods()
	configMaps, secrets = map[string]bool{}, map[string]bool{}
	for _, virtualPod := range both.virtual {
		configMaps[virtualPod.Spec.Containers[0].EnvFrom[0].ConfigMapRef.Name] = true
		secrets[virtualPod.Spec.Volumes[0].Secret.SecretName] = true
	}
	return configMaps, secrets, err
}

// checkReferred compares what goes down only when a pod refers to it. What an optional reference names without its being
// there has an empty copy.
func checkReferred[T client.Object](kind string, both sides[T], referred map[string]bool, same func(virtual, host T) bool) error {
	for name := range referred {
		virtual, inTenant := both.virtual[name]
		host, onHost := both.host[name]
		if inTenant && !onHost {
			return fmt.Errorf("%s %q is missing on the host", kind, name)
		}
		if inTenant && !same(virtual, host) {
			return fmt.Errorf("%s %q is %+v, on the host %+v", kind, name, virtual, host)
		}
		if !inTenant && onHost && !same(both.virtual[name], host) {
			return fmt.Errorf("%s %q was deleted; the host has %+v", kind, name, host)
		}
	}
	for name := range both.host {
		if !referred[name] {
			return fmt.Errorf("%s %q is on the host without a pod that refers to it", kind, name)
		}
	}
	return nil
}

func (w *workload) checkConfigMaps() error {
	configMaps, _, err := w.referred()
	if err != nil {
		return err
	}
	both, err := listSides(w, func() client.ObjectList { return &corev1.ConfigMapList{} }, isCopy[*corev1.ConfigMap])
	if err != nil {
		return err
	}
	delete(both.virtual, "kube-root-ca.crt")
	return errors.Join(checkAcknowledged(w, "configmap", both.virtual), checkReferred("configmap", both, configMaps, func(virtual, host *corev1.ConfigMap) bool {
		return virtual == nil && len(host.Data) == 0 || virtual != nil && maps.Equal(virtual.Data, host.Data)
	}))
}

func (w *workload) checkSecrets() error {
	_, secrets, err := w.referred()
	if err != nil {
		return err
	}
	both, err := listSides(w, func() client.ObjectList { return &corev1.SecretList{} }, isCopy[*corev1.Secret])
	if err != nil {
		return err
	}
	return errors.Join(w.checkBundles(), checkAcknowledged(w, "secret", both.virtual), checkReferred("secret", both, secrets, func(virtual, host *corev1.Secret) bool {
		return virtual == nil && len(host.Data) == 0 || virtual != nil && bytes.Equal(virtual.Data["word"], host.Data["word"])
	}))
}

// checkBundles: each pod has its tokens, and no pod that is gone has left any.
func (w *workload) checkBundles() error {
	bundles, err := listNamed(w.t, w.host, mapping.HostNamespace(w.tenant.ID, w.namespace), &corev1.SecretList{}, func(secret *corev1.Secret) bool {
		return mapping.IsReserved(secret.Name)
	})
	if err != nil {
		return err
	}
	for name, uid := range w.have["pod"] {
		bundle := fmt.Sprintf("%spod-%s", mapping.ReservedPrefix, uid)
		if _, ok := bundles[bundle]; !ok {
			return fmt.Errorf("pod %q has no token Secret on the host", name)
		}
		delete(bundles, bundle)
	}
	for name := range bundles {
		return fmt.Errorf("secret %q is left on the host", name)
	}
	return nil
}

// deleteAll deletes the tenant's namespace, after which the host must have nothing of it.
func (w *workload) deleteAll(within time.Duration) {
	w.t.Helper()
	remove(w.t, w.virtual, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})
	hostNamespace := mapping.HostNamespace(w.tenant.ID, w.namespace)
	eventuallyWithin(w.t, within, "end of "+w.namespace, func() error {
		for side, from := range map[string]client.Client{w.namespace: w.virtual, hostNamespace: w.host} {
			err := from.Get(w.t.Context(), client.ObjectKey{Name: side}, &corev1.Namespace{})
			if !apierrors.IsNotFound(err) {
				return errors.Join(fmt.Errorf("namespace %q is still there", side), err)
			}
		}
		return nil
	})
}

package pod

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

// filler sets every field that is not refused or left to the tenant.
type filler struct{ decided map[string]map[string]Field }

// special are values that mean something to the translation.
var special = map[string]any{
	"ConfigMapKeySelector.name": rootCAConfigMap, "ConfigMapEnvSource.name": rootCAConfigMap, "ConfigMapVolumeSource.name": rootCAConfigMap,
	"ObjectFieldSelector.fieldPath": "metadata.namespace", "PodSpec.dnsPolicy": string(corev1.DNSClusterFirstWithHostNet),
}

func (f filler) fill(value reflect.Value) {
	switch target := value.Addr().Interface().(type) {
	case *resource.Quantity:
		*target = resource.MustParse("3")
		return
	case *metav1.Time:
		*target = metav1.NewTime(time.Unix(1000, 0))
		return
	case *intstr.IntOrString:
		*target = intstr.FromInt32(3)
		return
	case *metav1.ObjectMeta:
		target.Labels = map[string]string{"app": "x"}
		return
	case *metav1.LabelSelector:
		target.MatchLabels = map[string]string{"app": "x"}
		return
	case *[]corev1.Toleration:
		*target = []corev1.Toleration{
			{Key: "x", Operator: "x", Value: "x", Effect: "x", TolerationSeconds: new(int64(3))}, {Operator: corev1.TolerationOpExists},
		}
		return
	case *[]corev1.EnvVar:
		f.variants(value, membersOf(reflect.TypeFor[corev1.EnvVarSource]()), func(element reflect.Value) reflect.Value {
			source := &corev1.EnvVarSource{}
			element.FieldByName("ValueFrom").Set(reflect.ValueOf(source))
			return reflect.ValueOf(source).Elem()
		})
		*target = append(*target, corev1.EnvVar{Name: "plain", Value: "x"})
		return
	case *[]corev1.Volume:
		f.variants(value, membersOf(reflect.TypeFor[corev1.VolumeSource]()), func(element reflect.Value) reflect.Value { return element.FieldByName("VolumeSource") })
		f.projections(target)
		return
	}
	f.fillKind(value)
}

func (f filler) fillKind(value reflect.Value) {
	switch value.Kind() {
	case reflect.String:
		value.SetString("x")
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		value.SetInt(3)
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		f.fill(value.Elem())
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		f.fill(value.Index(0))
	case reflect.Map:
		key, element := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
		f.fill(key)
		f.fill(element)
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(key, element)
	case reflect.Struct:
		for _, member := range membersOf(value.Type()) {
			f.fillMember(value, value.Type().Name(), member)
		}
	default:
		panic("no value for " + value.Type().String())
	}
}

func (f filler) fillMember(in reflect.Value, owner string, member member) {
	if decision := f.decided[owner][member.name].Decision; decision == Refused {
		return
	}
	field := in.FieldByIndex(member.index)
	if value, isSpecial := special[owner+"."+member.name]; isSpecial {
		field.Set(reflect.ValueOf(value).Convert(field.Type()))
		return
	}
	f.fill(field)
}

// variants makes a list with one element for each field of a union, which union finds in an element.
func (f filler) variants(list reflect.Value, members []member, union func(element reflect.Value) reflect.Value) {
	for _, member := range members {
		owner := list.Type().Elem().Name()
		if owner == "EnvVar" {
			owner = "EnvVarSource"
		}
		if f.decided[owner][member.name].Decision == Refused {
			continue
		}
		element := reflect.New(list.Type().Elem()).Elem()
		element.FieldByName("Name").SetString("x-" + member.name)
		f.fillMember(union(element), owner, member)
		list.Set(reflect.Append(list, element))
	}
}

// projections adds a projected volume for each of its sources.
func (f filler) projections(volumes *[]corev1.Volume) {
	*volumes = slices.DeleteFunc(*volumes, func(volume corev1.Volume) bool { return volume.Projected != nil })
	for _, member := range membersOf(reflect.TypeFor[corev1.VolumeProjection]()) {
		if f.decided["VolumeProjection"][member.name].Decision == Refused {
			continue
		}
		projected := &corev1.ProjectedVolumeSource{DefaultMode: new(int32(3)), Sources: make([]corev1.VolumeProjection, 1)}
		f.fillMember(reflect.ValueOf(&projected.Sources[0]).Elem(), "VolumeProjection", member)
		*volumes = append(*volumes, corev1.Volume{Name: "y-" + member.name, VolumeSource: corev1.VolumeSource{Projected: projected}})
	}
}

// comparison holds two objects against the table.
type comparison struct {
	t       *testing.T
	decided map[string]map[string]Field
	seen    map[string]bool // fields that were set
	changed map[string]bool // fields that arrived with another value, at least once
}

func (c comparison) compare(from, to reflect.Value) {
	for _, member := range membersOf(from.Type()) {
		name := from.Type().Name() + "." + member.name
		was, is := from.FieldByIndex(member.index), to.FieldByIndex(member.index)
		if was.IsZero() {
			continue
		}
		c.seen[name] = true
		if !reflect.DeepEqual(was.Interface(), is.Interface()) {
			c.changed[name] = true
		}
		_, isStruct := structOf(member.typ)
		switch c.decided[from.Type().Name()][member.name].Decision {
		case Carried:
			if !isStruct {
				if diff := cmp.Diff(was.Interface(), is.Interface()); diff != "" {
					c.t.Errorf("%s is not carried (-from +to):\n%s", name, diff)
				}
				continue
			}
			c.inside(name, was, is)
		case Rewritten:
			if isStruct {
				c.inside(name, was, is)
			}
		case Dropped, Told:
			if !is.IsZero() {
				c.t.Errorf("%s is not dropped: %v", name, is.Interface())
			}
		}
	}
}

// inside compares what is in a pointer, or the elements of a list: those of the same name, else those in the same place.
func (c comparison) inside(name string, was, is reflect.Value) {
	switch was.Kind() {
	case reflect.Pointer:
		if is.IsNil() {
			is = reflect.New(was.Type().Elem())
		}
		c.compare(was.Elem(), is.Elem())
	case reflect.Struct:
		c.compare(was, is)
	case reflect.Slice:
		for index := range was.Len() {
			element, found := counterpart(was.Index(index), is, index)
			if !found {
				c.t.Errorf("%s[%d] does not arrive", name, index)
				continue
			}
			c.compare(was.Index(index), element)
		}
	default:
		c.t.Errorf("%s: do not know how to look into %s", name, was.Type())
	}
}

func counterpart(element, list reflect.Value, index int) (reflect.Value, bool) {
	if element.FieldByName("Name").Kind() == reflect.String {
		for other := range list.Len() {
			if list.Index(other).FieldByName("Name").String() == element.FieldByName("Name").String() {
				return list.Index(other), true
			}
		}
		return reflect.Value{}, false
	}
	if index >= list.Len() {
		return reflect.Value{}, false
	}
	return list.Index(index), true
}

// checkChanged checks that what is decided to change does.
func (c comparison) checkChanged() {
	for owner, fields := range c.decided {
		for name, field := range fields {
			full := owner + "." + name
			if c.seen[full] && !c.changed[full] && (field.Decision == Rewritten || field.Decision == Replaced) {
				c.t.Errorf("%s is decided to be %s and arrives as it is", full, field.Decision)
			}
		}
	}
}

func newComparison(t *testing.T) comparison {
	t.Helper()
	return comparison{t: t, decided: table(t), seen: map[string]bool{}, changed: map[string]bool{}}
}

func filledPod(t *testing.T) *corev1.Pod {
	t.Helper()
	virtualPod := testPod(func(*corev1.PodSpec) {})
	filler{table(t)}.fill(reflect.ValueOf(&virtualPod.Spec).Elem())
	return virtualPod
}

// TestTheTableIsTrueOfTheSpec sends a pod with every field that may be set to the host.
func TestTheTableIsTrueOfTheSpec(t *testing.T) {
	virtualPod := filledPod(t)
	if err := checkSupported(virtualPod, clusterv1alpha1.PodSecurityBaseline); err != nil {
		t.Fatalf("what is not decided to be refused is: %v", err)
	}
	tr := testTranslation()
	tr.nodeSelector = map[string]string{"pool": "tenants"}
	tr.hasPullSecret = func(string) bool { return true }
	hostPod, _ := translate(virtualPod, tr)
	hostPod = withDebug(virtualPod, hostPod, tr.serviceAddress)

	c := newComparison(t)
	c.compare(reflect.ValueOf(virtualPod.Spec), reflect.ValueOf(hostPod.Spec))
	c.checkChanged()

	for _, group := range slices.Concat(specGroups, volumeGroups) {
		for name, field := range c.decided[group.of] {
			if field.Decision != Refused && !c.seen[group.of+"."+name] && !isOnlyReplaced[group.of] {
				t.Errorf("%s.%s was not set", group.of, name)
			}
		}
	}
}

// isOnlyReplaced are types that are only in what the agent answers itself; the tests of bundles and of the environment are theirs.
var isOnlyReplaced = map[string]bool{
	"ServiceAccountTokenProjection": true, "DownwardAPIVolumeSource": true, "DownwardAPIProjection": true, "DownwardAPIVolumeFile": true,
	"ObjectFieldSelector": true,
}

// TestTheTableIsTrueOfTheStatus brings a host pod's status with every field up.
func TestTheTableIsTrueOfTheStatus(t *testing.T) {
	virtualPod := testPod(func(s *corev1.PodSpec) { s.Containers[0].Name = "x" })
	virtualPod.Generation = 9
	hostPod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "h-1", Generation: 3}}
	filler{table(t)}.fill(reflect.ValueOf(&hostPod.Status).Elem())
	status := statusUp(virtualPod, hostPod, nil, func(text string) string { return "redacted " + text })

	c := newComparison(t)
	c.compare(reflect.ValueOf(hostPod.Status), reflect.ValueOf(status))
	c.checkChanged()
	for _, member := range membersOf(reflect.TypeFor[corev1.PodStatus]()) {
		got := reflect.ValueOf(status).FieldByIndex(member.index)
		if c.decided["PodStatus"][member.name].Decision == Own && !got.IsZero() {
			t.Errorf("status.%s is the tenant's own and comes from the host: %v", member.name, got.Interface())
		}
	}
}

// TestWhatIsDroppedWithAnEventIsTold by the name of the field.
func TestWhatIsDroppedWithAnEventIsTold(t *testing.T) {
	virtualPod := filledPod(t)
	virtualPod.Spec.NodeName = ""
	hostPod, _ := translate(virtualPod, testTranslation())
	told := fmt.Sprint(notApplied(virtualPod, hostPod))
	for _, field := range Fields() {
		if field.Decision == Told && !strings.Contains(told, "spec."+field.Name) {
			t.Errorf("spec.%s is dropped without a word: %s", field.Name, told)
		}
	}
	for _, part := range []string{`spec.imagePullSecrets "x"`, "the toleration of every taint"} {
		if !strings.Contains(told, part) {
			t.Errorf("%s is missing in: %s", part, told)
		}
	}
}

// TestWhatIsRefusedIsNamed sets each field of a pod's spec that is refused alone; volumes have their own tests.
func TestWhatIsRefusedIsNamed(t *testing.T) {
	decided := table(t)
	for _, member := range membersOf(reflect.TypeFor[corev1.PodSpec]()) {
		if decided["PodSpec"][member.name].Decision != Refused {
			continue
		}
		virtualPod := testPod(func(*corev1.PodSpec) {})
		filler{map[string]map[string]Field{}}.fill(reflect.ValueOf(&virtualPod.Spec).Elem().FieldByIndex(member.index))
		isAllowed(t, member.name, nil, checkSupported(virtualPod, clusterv1alpha1.PodSecurityPrivileged))
	}
}

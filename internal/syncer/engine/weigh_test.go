package engine

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// TestWeightsCoverEveryType: an answer may say that it is of any type of Scheme, and be decoded as such.
func TestWeightsCoverEveryType(t *testing.T) {
	for _, scheme := range []struct {
		name    string
		types   map[reflect.Type]bool
		element int64
	}{
		{"typed", typesOf(Scheme), typedElement},
		{"untyped", typesOf(metaScheme()), untypedElement},
	} {
		for found := range scheme.types {
			if found.Kind() == reflect.Slice {
				// A list that has just grown by a quarter is beside the one that it was copied from.
				if size := int64(found.Elem().Size()) * 9 / 4; size > scheme.element {
					t.Errorf("%s: an element of a list is %s, which takes %d bytes, more than %d", scheme.name, found.Elem(), size, scheme.element)
				}
			}
			if found.Kind() == reflect.Map {
				checkEntry(t, found)
			}
			if found.Kind() == reflect.Struct {
				checkPointers(t, found)
			}
		}
	}
}

// checkEntry: in a map that has just doubled, an entry has two places and a third, and as many as that in half in the map that it
// was copied from.
func checkEntry(t *testing.T, m reflect.Type) {
	const shortest = len(`"a":1,`) * byteWeight
	if size := mapRoom(8, int64(m.Key().Size()), int64(m.Elem().Size())) / 8 * 7 / 2; size > entryWeight+int64(shortest) {
		t.Errorf("an entry of a %s takes %d bytes, more than %d", m, size, entryWeight+shortest)
	}
}

// checkPointers: what a field points to is made for an object.
func checkPointers(t *testing.T, s reflect.Type) {
	for index := range s.NumField() {
		f := s.Field(index)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Type.Kind() != reflect.Pointer || name == "" {
			continue
		}
		weight := int64(objectWeight + entryWeight + byteWeight*len(fmt.Sprintf("%q:{}", name)))
		if size := allocated(int64(f.Type.Elem().Size())); size > weight {
			t.Errorf("%s.%s takes %d bytes, more than %d", s, f.Name, size, weight)
		}
	}
}

func metaScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, metav1.Unversioned)
	return scheme
}

// typesOf are all types that objects of a scheme consist of.
func typesOf(scheme *runtime.Scheme) map[reflect.Type]bool {
	found := map[reflect.Type]bool{}
	var add func(reflect.Type)
	add = func(one reflect.Type) {
		if found[one] {
			return
		}
		found[one] = true
		switch one.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
			add(one.Elem())
		case reflect.Map:
			add(one.Key())
			add(one.Elem())
		case reflect.Struct:
			for index := range one.NumField() {
				if one.Field(index).IsExported() {
					add(one.Field(index).Type)
				}
			}
		}
	}
	for _, known := range scheme.AllKnownTypes() {
		add(known)
	}
	return found
}

func weightOf(text string, element int64) int64 {
	w := weigher{element: element}
	return w.weigh([]byte(text))
}

// TestWeightOfRealObjects: what API servers take at most passes.
func TestWeightOfRealObjects(t *testing.T) {
	var data, fields strings.Builder
	for index := range 90000 { // about 1.5 MiB as it is stored
		fmt.Fprintf(&data, `"k%d":"v",`, index)
		fmt.Fprintf(&fields, `"f:k%d":{},`, index)
	}
	many := fmt.Sprintf(`{"kind":"ConfigMap","data":{%s},"metadata":{"managedFields":[{"fieldsV1":{"f:data":{%s}}}]}}`, data.String(), fields.String())
	peer := `{"ipBlock":{"cidr":"192.168.123.123/32"}},`
	for name, tc := range map[string]struct {
		text    string
		element int64
	}{
		"ManyEntries":    {many, typedElement},
		"LargestString":  {`{"data":{"x":"` + strings.Repeat("x", 3<<20) + `"}}`, typedElement},
		"ManyPeers":      {`{"spec":{"ingress":[{"from":[` + strings.Repeat(peer, 35000) + `]}]}}`, typedElement},
		"PageOfPods":     {`{"items":[` + strings.Repeat(usualPodJSON(t)+",", listPage) + `]}`, typedElement},
		"CustomNumbers":  {`{"spec":{"x":[` + strings.Repeat("1.25,", 300000) + `]}}`, untypedElement},
		"CustomEmbedded": {`{"spec":{"x":[` + strings.Repeat(`{"name":"x","value":"some"},`, 50000) + `]}}`, untypedElement},
	} {
		weight, most := weightOf(tc.text, tc.element), complete(Options{}).MaxCached/4*3
		if weight > most*2/3 {
			t.Errorf("%s: %d bytes weigh %d MiB, of %d", name, len(tc.text), weight>>20, most>>20)
		}
	}
	pod := usualPodJSON(t)
	if weight := weightOf(pod, typedElement); weight > usualWeight*int64(len(pod)) {
		t.Errorf("a usual pod has %d bytes and weighs %d", len(pod), weight)
	}
}

// checkWeight: what has been decoded takes no more memory than was counted before.
func checkWeight(t *testing.T, name, text string) {
	t.Helper()
	const once = 4 << 10 // the object itself
	for element, objects := range map[int64][]any{
		typedElement:   {decodedFrom(text, &corev1.Pod{}), decodedFrom(text, &appsv1.DeploymentList{}), decodedFrom(text, &metav1.PartialObjectMetadata{})},
		untypedElement: {decodedFrom(text, &metav1.APIResourceList{}), untypedFrom(text)},
	} {
		for _, object := range objects {
			if size, weight := memoryOf(object), weightOf(text, element)+once; size > weight {
				t.Errorf("%s: %d bytes take %d as %T and weigh %d", name, len(text), size, object, weight)
			}
		}
	}
}

func TestNothingTakesMoreThanItWeighs(t *testing.T) {
	for name, text := range hostileTexts(20000) {
		checkWeight(t, name, text)
	}
}

func FuzzWeigher(f *testing.F) {
	for _, text := range hostileTexts(3) {
		f.Add(text, uint(7))
	}
	f.Add(usualPodJSON(f), uint(100))
	f.Fuzz(func(t *testing.T, text string, cut uint) {
		if json.Valid([]byte(text)) {
			checkWeight(t, "fuzz", text)
		}
		whole, pieces := weigher{element: typedElement}, weigher{element: typedElement}
		at := int(cut % uint(len(text)+1))
		if a, b := whole.weigh([]byte(text)), pieces.weigh([]byte(text[:at]))+pieces.weigh([]byte(text[at:])); a != b {
			t.Errorf("in one piece it weighs %d, in two %d", a, b)
		}
	})
}

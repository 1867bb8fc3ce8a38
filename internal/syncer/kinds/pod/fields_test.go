package pod

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// table are the decisions by type and field.
func table(t *testing.T) map[string]map[string]Field {
	t.Helper()
	decided := map[string]map[string]Field{}
	for _, field := range Fields() {
		if decided[field.Type] == nil {
			decided[field.Type] = map[string]Field{}
		}
		if _, isTwice := decided[field.Type][field.Name]; isTwice {
			t.Errorf("%s.%s is decided twice", field.Type, field.Name)
		}
		decided[field.Type][field.Name] = field
	}
	return decided
}

// member is a field of a struct with its name in the API; those of inlined structs are its own.
type member struct {
	name  string
	index []int
	typ   reflect.Type
}

func membersOf(typ reflect.Type) []member {
	var members []member
	for index := range typ.NumField() {
		field := typ.Field(index)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" {
			members = append(members, member{name, []int{index}, field.Type})
			continue
		}
		for _, inner := range membersOf(field.Type) {
			members = append(members, member{inner.name, append([]int{index}, inner.index...), inner.typ})
		}
	}
	return members
}

// structOf is the type of the Pod API inside of pointers, lists and maps.
func structOf(typ reflect.Type) (reflect.Type, bool) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
		typ = typ.Elem()
	}
	return typ, typ.Kind() == reflect.Struct && typ.PkgPath() == reflect.TypeFor[corev1.Pod]().PkgPath()
}

// TestEveryFieldIsDecided fails when the Pod API has a field that nobody has thought about, and when the table has one that
// the API does not.
func TestEveryFieldIsDecided(t *testing.T) {
	decided, reached := table(t), map[string]bool{}
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		if reached[typ.Name()] {
			return
		}
		reached[typ.Name()] = true
		exists := map[string]bool{}
		for _, member := range membersOf(typ) {
			exists[member.name] = true
			field, isDecided := decided[typ.Name()][member.name]
			if !isDecided {
				t.Errorf("%s.%s: nobody has decided what becomes of it on the host; see fields.go", typ.Name(), member.name)
				continue
			}
			inner, isStruct := structOf(member.typ)
			if isStruct && (field.Decision == Carried || field.Decision == Rewritten || field.Decision == Replaced) {
				walk(inner)
			}
		}
		for name := range decided[typ.Name()] {
			if !exists[name] {
				t.Errorf("%s.%s does not exist", typ.Name(), name)
			}
		}
	}
	walk(reflect.TypeFor[corev1.PodSpec]())
	walk(reflect.TypeFor[corev1.PodStatus]())
	for name := range decided {
		if !reached[name] {
			t.Errorf("type %s is in no pod", name)
		}
	}
}

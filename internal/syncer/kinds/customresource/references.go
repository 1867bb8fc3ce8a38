package customresource

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// rules say what is done with fields that name something elsewhere. Paths look like .spec.parents[*].namespace.
type rules struct {
	// references hold names of namespaces, which are translated.
	references sets.Set[string]
	// plain fields only look like names of namespaces.
	plain sets.Set[string]
	// refused fields may not be set.
	refused sets.Set[string]
}

func (r rules) equal(other rules) bool {
	return r.references.Equal(other.references) && r.plain.Equal(other.plain) && r.refused.Equal(other.refused)
}

// translate replaces, in place, the names of namespaces by what hostNamespace makes of them. It refuses what is forbidden and
// what looks like the name of a namespace and is not declared: left alone it could name anything on the host.
func (r rules) translate(content map[string]any, hostNamespace func(string) string) error {
	return translation{rules: r, hostNamespace: hostNamespace}.fields("", content)
}

type translation struct {
	rules
	hostNamespace func(string) string
}

func (t translation) fields(path string, fields map[string]any) error {
	for name, value := range fields {
		path := path + step(name)
		if t.refused.Has(path) {
			return engine.Refuse(engine.ReasonNotSupported, "the field %s may not be set here: the host's operator does not allow it; remove it", path)
		}
		if looksLikeNamespace(name) && !t.isDeclared(path) {
			return engine.Refuse(engine.ReasonNotSupported, "the field %s looks like a reference to a namespace and is not declared; remove it, or add its path to the references of this kind in spec.sync.customResources of the VirtualCluster", path)
		}
		translated, err := t.value(path, value)
		if err != nil {
			return err
		}
		fields[name] = translated
	}
	return nil
}

func (t translation) isDeclared(path string) bool {
	return t.references.Has(path) || t.references.Has(path+"[*]") || t.plain.Has(path)
}

func (t translation) value(path string, value any) (any, error) {
	if t.references.Has(path) {
		return t.reference(path, value)
	}
	switch value := value.(type) {
	case map[string]any:
		if t.references.Has(path + "[*]") {
			return nil, notAName(path)
		}
		return value, t.fields(path, value)
	case []any:
		for index := range value {
			translated, err := t.value(path+"[*]", value[index])
			if err != nil {
				return nil, err
			}
			value[index] = translated
		}
		return value, nil
	case nil:
		return value, nil
	default:
		if t.references.Has(path + "[*]") {
			return nil, notAName(path)
		}
		return value, nil
	}
}

// reference translates one name. An empty one is what leaving the field out means.
func (t translation) reference(path string, value any) (any, error) {
	name, ok := value.(string)
	switch {
	case value == nil || ok && name == "":
		return value, nil
	case !ok || len(validation.IsDNS1123Label(name)) > 0:
		return nil, notAName(path)
	}
	return t.hostNamespace(name), nil
}

func notAName(path string) error {
	return engine.Refuse(engine.ReasonNotSupported, "the field %s is declared as the name of a namespace and holds something else; write the name of one of your namespaces, or correct the path", path)
}

// looksLikeNamespace is broad: what is refused without need can be declared, what is missed cannot be brought back. Programs
// that read an object may take other forms of a letter for it, such as ſ for s, so it goes by way of the upper case.
func looksLikeNamespace(field string) bool {
	return strings.Contains(strings.ToLower(strings.ToUpper(field)), "namespace")
}

// step is one field of a path. A name that a path could not hold becomes one that no declared path is equal to.
func step(field string) string {
	if field == "" || strings.ContainsAny(field, `.[]"`) {
		return `["` + field + `"]`
	}
	return "." + field
}

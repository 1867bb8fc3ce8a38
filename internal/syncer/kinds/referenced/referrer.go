package referenced

import (
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// Referrer is a type of object, beside pods, that refers to others of its namespace by name.
type Referrer struct {
	// Kind is the name of the engine's kind of the objects; it is woken when what they refer to comes or goes.
	Kind string
	// Object is an empty object of the type, and List an empty list.
	Object client.Object
	List   func() client.ObjectList
	// Names are the objects that one refers to.
	Names func(object client.Object) []string
}

// podsOf are the pods that refer to objects of a type.
func podsOf(typ Type) Referrer {
	return Referrer{
		Kind: "pod", Object: &corev1.Pod{}, List: func() client.ObjectList { return &corev1.PodList{} },
		Names: func(object client.Object) []string {
			pod, ok := object.(*corev1.Pod)
			if !ok {
				return nil
			}
			return typ.Names(pod)
		},
	}
}

func (r Referrer) keys(_ *engine.Scope, object client.Object) []engine.Key {
	names := r.Names(object)
	keys := make([]engine.Key, 0, len(names))
	for _, name := range names {
		keys = append(keys, engine.Key{Namespace: object.GetNamespace(), Name: name})
	}
	return keys
}

// sameNames drops updates that change no reference: those of status, mostly.
func sameNames(old, new client.Object) bool {
	return old.GetGeneration() == new.GetGeneration()
}

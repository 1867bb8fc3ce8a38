package engine

import (
	"reflect"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// What an object takes in memory is counted by going through it. How it is stored says too little: an empty element of a list is
// two bytes there.

// memoryOf is about what an object takes in memory, everything that it alone leads to included.
func memoryOf(object any) int64 {
	if untyped, ok := object.(*unstructured.Unstructured); ok {
		return ofUntyped(untyped.Object)
	}
	value := reflect.ValueOf(object)
	if !value.IsValid() {
		return 0
	}
	return shapeOf(value.Type()).beside(value)
}

// shape is what is known of a type once and for all.
type shape struct {
	kind reflect.Kind
	size int64
	// isFlat says that a value takes nothing beside itself.
	isFlat    bool
	key, elem *shape
	fields    []field // those that are not flat
}

type field struct {
	index int
	*shape
}

var (
	shapes     sync.Map // from reflect.Type to *shape
	shapesMu   sync.Mutex
	stringMap  = reflect.TypeFor[map[string]string]()
	timeStruct = reflect.TypeFor[time.Time]()
)

func shapeOf(t reflect.Type) *shape {
	if known, ok := shapes.Load(t); ok {
		return known.(*shape)
	}
	shapesMu.Lock()
	defer shapesMu.Unlock()
	made := map[reflect.Type]*shape{}
	s := makeShape(t, made)
	for t, s := range made { // they are complete only now: types may contain themselves
		shapes.LoadOrStore(t, s)
	}
	return s
}

func makeShape(t reflect.Type, made map[reflect.Type]*shape) *shape {
	if known, ok := made[t]; ok {
		return known
	}
	s := &shape{kind: t.Kind(), size: int64(t.Size())}
	made[t] = s
	switch t.Kind() {
	case reflect.String, reflect.Interface:
	case reflect.Pointer, reflect.Slice:
		s.elem = makeShape(t.Elem(), made)
	case reflect.Map:
		s.key, s.elem = makeShape(t.Key(), made), makeShape(t.Elem(), made)
	case reflect.Array:
		s.elem = makeShape(t.Elem(), made)
		s.isFlat = s.elem.isFlat
	case reflect.Struct:
		s.addFields(t, made)
	default:
		s.isFlat = true
	}
	return s
}

func (s *shape) addFields(t reflect.Type, made map[reflect.Type]*shape) {
	for index := range t.NumField() {
		if one := makeShape(t.Field(index).Type, made); !one.isFlat {
			s.fields = append(s.fields, field{index, one})
		}
	}
	if t == timeStruct { // what it leads to is everybody's
		s.fields = nil
	}
	s.isFlat = len(s.fields) == 0
}

// beside is what a value of the type takes beside itself.
func (s *shape) beside(value reflect.Value) int64 {
	if s.isFlat {
		return 0
	}
	switch s.kind {
	case reflect.String:
		return allocated(int64(value.Len()))
	case reflect.Pointer:
		if value.IsNil() {
			return 0
		}
		return allocated(s.elem.size) + s.elem.beside(value.Elem())
	case reflect.Interface:
		if value.IsNil() {
			return 0
		}
		inner := value.Elem()
		of := shapeOf(inner.Type())
		return allocated(of.size) + of.beside(inner)
	case reflect.Slice:
		return s.besideSlice(value)
	case reflect.Map:
		return s.besideMap(value)
	case reflect.Array:
		return s.elem.besideAll(value)
	default:
		var total int64
		for _, one := range s.fields {
			total += one.beside(value.Field(one.index))
		}
		return total
	}
}

// besideSlice counts what is beyond the length, too: decoders leave there what they have decoded before they cut a list short.
func (s *shape) besideSlice(value reflect.Value) int64 {
	room := allocated(int64(value.Cap()) * s.elem.size)
	if s.elem.isFlat {
		return room
	}
	if value.Cap() > value.Len() {
		value = value.Slice(0, value.Cap())
	}
	return room + s.elem.besideAll(value)
}

func (s *shape) besideAll(list reflect.Value) int64 {
	var total int64
	for index := range list.Len() {
		total += s.beside(list.Index(index))
	}
	return total
}

func (s *shape) besideMap(value reflect.Value) int64 {
	if value.IsNil() {
		return 0
	}
	total := mapRoom(value.Len(), s.key.size, s.elem.size)
	if value.Type() == stringMap && value.CanInterface() { // nearly all of them
		for key, text := range value.Interface().(map[string]string) {
			total += allocated(int64(len(key))) + allocated(int64(len(text)))
		}
		return total
	}
	for entries := value.MapRange(); entries.Next(); {
		total += s.key.beside(entries.Key()) + s.elem.beside(entries.Value())
	}
	return total
}

// ofUntyped is what a value of unstructured JSON takes beside the interface that it is in.
func ofUntyped(value any) int64 {
	switch typed := value.(type) {
	case nil, bool:
		return 0
	case string:
		return 16 + allocated(int64(len(typed)))
	case int64, float64:
		return 8
	case []any:
		total := 24 + allocated(int64(cap(typed))*16)
		for _, one := range typed {
			total += ofUntyped(one)
		}
		return total
	case map[string]any:
		total := mapRoom(len(typed), 16, 16)
		for key, one := range typed {
			total += allocated(int64(len(key))) + ofUntyped(one)
		}
		return total
	}
	return memoryOf(value)
}

const (
	mapHeader = 48
	mapGroup  = 8   // places that are allocated together
	mapInline = 128 // what is larger is behind a pointer
)

// mapRoom is what a map takes for so many entries. Maps double when seven of eight places are taken.
func mapRoom(entries int, key, elem int64) int64 {
	if entries == 0 {
		return mapHeader
	}
	places := mapGroup
	for entries > mapGroup && places*7 < entries*8 {
		places *= 2
	}
	room := int64(mapHeader)
	if elem > mapInline {
		room += int64(entries) * allocated(elem)
		elem = 8
	}
	return room + allocated(int64(places)*(key+elem+1))
}

// allocated is what an allocation takes, about.
func allocated(size int64) int64 {
	if size <= 8 {
		return size
	}
	return (size + 15) &^ 15
}

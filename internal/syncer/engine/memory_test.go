package engine

import (
	"runtime"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestMemoryOf compares with what the runtime says. It is not parallel: others would count.
func TestMemoryOf(t *testing.T) {
	usual, hostile := usualPodJSON(t), hostileTexts(2000)
	pod := func(text string) func() any {
		return func() any { return decodedFrom(text, &corev1.Pod{}) }
	}
	for name, decode := range map[string]func() any{
		"Pod":         pod(usual),
		"Metadata":    func() any { return decodedFrom(usual, &metav1.PartialObjectMetadata{}) },
		"Untyped":     func() any { return untypedFrom(usual) },
		"OfProtobuf":  ofProtobuf(t),
		"Containers":  pod(hostile["Containers"]),
		"Items":       func() any { return decodedFrom(hostile["Items"], &appsv1.DeploymentList{}) },
		"Pointers":    pod(hostile["Pointers"]),
		"Strings":     pod(hostile["Strings"]),
		"Labels":      pod(hostile["Labels"]),
		"Quantities":  pod(hostile["Quantities"]),
		"CutShort":    pod(hostile["CutShort"]),
		"TinyMaps":    func() any { return untypedFrom(hostile["TinyMaps"]) },
		"TinyLists":   func() any { return untypedFrom(hostile["TinyLists"]) },
		"NestedMaps":  func() any { return untypedFrom(hostile["NestedMaps"]) },
		"EmptyObject": pod(`{}`),
	} {
		t.Run(name, func(t *testing.T) {
			kept := make([]any, 50)
			decode() // what is made once for a type
			before := heap()
			for index := range kept {
				kept[index] = decode()
			}
			took := (heap() - before) / int64(len(kept))
			counted := memoryOf(kept[0])
			if counted < took*3/4 || counted > took*3/2 {
				t.Errorf("it takes %d bytes, and %d are counted", took, counted)
			}
			t.Logf("it takes %d bytes, and %d are counted", took, counted)
			runtime.KeepAlive(kept)
		})
	}
}

func ofProtobuf(t *testing.T) func() any {
	t.Helper()
	encoded, err := usualPod().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return func() any {
		pod := &corev1.Pod{}
		if err := pod.Unmarshal(encoded); err != nil {
			t.Fatal(err)
		}
		return pod
	}
}

// heap is what is in use.
func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first has found is swept
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func BenchmarkMemoryOf(b *testing.B) {
	for name, object := range map[string]any{"Pod": decodedFrom(usualPodJSON(b), &corev1.Pod{}), "Untyped": untypedFrom(usualPodJSON(b))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				memoryOf(object)
			}
		})
	}
}

// BenchmarkDecodePod is what it costs that tenants are asked for JSON alone.
func BenchmarkDecodePod(b *testing.B) {
	text := usualPodJSON(b)
	b.Run("JSON", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			decodedFrom(text, &corev1.Pod{})
		}
	})
	encoded, err := usualPod().Marshal()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Protobuf", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := new(corev1.Pod).Unmarshal(encoded); err != nil {
				b.Fatal(err)
			}
		}
	})
}

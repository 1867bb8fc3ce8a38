package engine

import (
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

const emptyContainers = maxValue/3 - 1000

func podOf(name string, containers int) string {
	return `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"` + name + `","namespace":"web","resourceVersion":"1"},"spec":{"containers":[` +
		strings.TrimSuffix(strings.Repeat("{},", containers), ",") + `]}}`
}

// inProtobuf is what an API server sends for an object of this content, whose length is before it in a watch.
func inProtobuf(t *testing.T, kind string, raw []byte, isEvent bool) string {
	t.Helper()
	unknown := &apiruntime.Unknown{TypeMeta: apiruntime.TypeMeta{APIVersion: "v1", Kind: kind}, Raw: raw}
	var encoded strings.Builder
	if err := protobuf.NewSerializer(nil, nil).Encode(unknown, &encoded); err != nil {
		t.Fatal(err)
	}
	if !isEvent {
		return encoded.String()
	}
	event := &metav1.WatchEvent{Type: "ADDED", Object: apiruntime.RawExtension{Raw: []byte(encoded.String())}}
	frame, err := event.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(frame)))) + string(frame)
}

// protobufField is a field with a length.
func protobufField(number byte, content []byte) []byte {
	return append(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(content))), content...)
}

// answerWith says a text in this form, and then nothing.
func answerWith(form, text string) func(*endlessWriter, *http.Request) {
	return func(w *endlessWriter, r *http.Request) {
		w.Header().Set("Content-Type", form)
		w.WriteHeader(http.StatusOK)
		if w.say(text); isWatch(r) {
			w.ResponseWriter.(http.Flusher).Flush()
			<-r.Context().Done()
			w.failed = true
		}
	}
}

// TestEmptyElements: what is small until it is decoded is not decoded. It is not parallel: others would count.
func TestEmptyElements(t *testing.T) {
	containers := []byte(strings.Repeat("\x12\x00", emptyContainers)) // PodSpec.containers
	pod := protobufField(2, containers)
	const json, protobufForm = mediaJSON, "application/vnd.kubernetes.protobuf"
	for name, tc := range map[string]struct {
		list, watch func(*endlessWriter, *http.Request)
	}{
		"JSONEvent":     {refuseList, answerWith(json, `{"type":"ADDED","object":`+podOf("x", emptyContainers)+"}\n")},
		"JSONList":      {answerWith(json, `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[`+podOf("x", emptyContainers)+`]}`), refuseWatchList},
		"ProtobufEvent": {refuseList, answerWith(protobufForm+";stream=watch", inProtobuf(t, "Pod", pod, true))},
		"ProtobufList":  {answerWith(protobufForm, inProtobuf(t, "PodList", protobufField(2, pod), false)), refuseWatchList},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{}, 100)
			seen := func(answer func(*endlessWriter, *http.Request)) func(*endlessWriter, *http.Request) {
				return func(w *endlessWriter, r *http.Request) {
					answer(w, r)
					select {
					case asked <- struct{}{}:
					default:
					}
				}
			}
			server := &hostile{list: seen(tc.list), watch: seen(tc.watch), ended: make(chan struct{}, 1)}
			listening := httptest.NewServer(server)
			defer listening.Close()
			defer listening.CloseClientConnections()
			before := allocatedInAll()
			e, run := watchHostile(t, listening.URL, Trigger{Side: Virtual, Object: &corev1.Pod{}})
			for range 4 { // the list and the watch, and once more when the agent has had one of them
				select {
				case <-asked:
				case <-time.After(40 * time.Second):
					t.Fatal("the agent does not ask any more")
				}
			}
			letGo(t, e, run)
			if took := allocatedInAll() - before; took > 64<<20 {
				t.Errorf("%d MiB were allocated for an answer of %d", took>>20, len(containers)>>20)
			}
		})
	}
}

// allocatedInAll is what has been allocated, whether it is still in use or not.
func allocatedInAll() int64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.TotalAlloc)
}

// TestElementsCountInCaches: an object that is small as it is stored lets a tenant go if it is large in memory.
func TestElementsCountInCaches(t *testing.T) {
	t.Parallel()
	const each = hostileCached / 2000
	var pods []string
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		pods = append(pods, podOf(name, each))
	}
	bookmark := `{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}}` + "\n"
	added := `{"type":"ADDED","object":`
	events := added + strings.Join(pods, "}\n"+added) + "}\n"
	page := `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1","continue":"more"},"items":[` + pods[0] + `]}`
	for name, tc := range map[string]struct {
		list, watch func(*endlessWriter, *http.Request)
	}{
		"Pages":          {answerWith(mediaJSON, page), refuseWatchList},
		"BeforeBookmark": {refuseList, answerWith(mediaJSON, events)},
		"AfterBookmark":  {refuseList, answerWith(mediaJSON, bookmark+events)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &hostile{list: tc.list, watch: tc.watch, ended: make(chan struct{}, 1)}
			listening := httptest.NewServer(server)
			defer listening.Close()
			defer listening.CloseClientConnections()
			e, run := watchHostile(t, listening.URL, Trigger{Side: Virtual, Object: &corev1.Pod{}})
			awaitProblem(t, e, run)
			letGo(t, e, run)
		})
	}
}

// awaitProblem waits until a tenant counts as too large.
func awaitProblem(t *testing.T, e *Engine, run *tenantRun) {
	t.Helper()
	deadline := time.After(40 * time.Second)
	for e.Problem(run.uid) == "" {
		select {
		case <-e.again:
		case <-deadline:
			t.Fatal("the tenant is still served")
		}
	}
}

package kubeletdoor

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// withAPI gives tenant A an API server.
func (f *fixture) withAPI(handler http.HandlerFunc) {
	f.t.Helper()
	server := httptest.NewServer(handler)
	f.t.Cleanup(server.Close)
	f.tenant.VirtualConfig = &rest.Config{Host: server.URL}
	f.registry.Set(f.tenant)
}

func (f *fixture) podsOfNode() (int, string) {
	f.t.Helper()
	response, _ := f.do(f.kubelet("uid-a"), http.MethodGet, "/pods", nil)
	return response.code, body(f.t, response)
}

func TestPodsOfNode(t *testing.T) {
	f := newFixture(t)
	f.withAPI(func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Get("fieldSelector"); got != "spec.nodeName="+nodeName {
			t.Errorf("the tenant was asked for %q", got)
		}
		list := corev1.PodList{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"},
			Items:    []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: r.URL.Query().Get("continue") + "web"}}},
		}
		if r.URL.Query().Get("continue") == "" {
			list.Continue = "next-"
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list)
	})
	code, text := f.podsOfNode()
	var list corev1.PodList
	if err := json.Unmarshal([]byte(text), &list); err != nil || code != http.StatusOK {
		t.Fatalf("%d %v", code, err)
	}
	if len(list.Items) != 2 || list.Items[0].Name != "web" || list.Items[1].Name != "next-web" {
		t.Errorf("got %+v, want the pods of both pages", list.Items)
	}
}

// A tenant who owns its API server can answer without end; the agent serves others, too.
func TestPodsOfNodeAreBounded(t *testing.T) {
	f := newFixture(t)
	f.withAPI(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"`)
		endless := strings.Repeat("x", 1<<20)
		for {
			if _, err := io.WriteString(w, endless); err != nil {
				return
			}
		}
	})
	if code, text := f.podsOfNode(); code != http.StatusServiceUnavailable {
		t.Errorf("got %d with %d bytes", code, len(text))
	}
}

func TestFewListingsAtATime(t *testing.T) {
	f := newFixture(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	f.withAPI(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-answer
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","items":[]}`)
	})
	codes := make(chan int, maxListingsOfTenant)
	for range maxListingsOfTenant {
		connection := f.kubelet("uid-a")
		go func() {
			response, _ := f.do(connection, http.MethodGet, "/pods", nil)
			codes <- response.code
		}()
		<-asked
	}
	if code, text := f.podsOfNode(); code != http.StatusTooManyRequests {
		t.Errorf("one listing more: %d %s", code, text)
	}
	close(answer)
	for range maxListingsOfTenant {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("a listing within the limit: %d", code)
		}
	}
}

func TestNodesOfOtherTenants(t *testing.T) {
	f := newFixture(t)
	if _, code, err := f.dial(f.doorCA.client(t, "uid-a"), "of-b:10250"); err != nil || code != http.StatusNotFound {
		t.Errorf("a node that is another tenant's: %d %v", code, err)
	}
	if _, code, err := f.dial(f.doorCA.client(t, "uid-b"), "of-b:10250"); err != nil || code != http.StatusOK {
		t.Errorf("its own node: %d %v", code, err)
	}
}

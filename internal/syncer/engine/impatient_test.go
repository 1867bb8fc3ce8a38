package engine

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestTriggersDoNotWaitForATenant: a trigger asks for objects that the tenant's API server never tells. Neither the handler waits for
// them nor whoever lets the tenant go, which are one for all tenants.
func TestTriggersDoNotWaitForATenant(t *testing.T) {
	t.Parallel()
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/secrets") && r.URL.Query().Get("sendInitialEvents") != "":
			refuseWatchList(&endlessWriter{ResponseWriter: w}, r)
		case strings.HasSuffix(r.URL.Path, "/secrets") && !isWatch(r):
			isJSON(w, http.StatusOK)
			_, _ = io.WriteString(w, `{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"x","namespace":"web","resourceVersion":"1"}}]}`)
		default:
			<-r.Context().Done()
		}
	}))
	defer listening.Close()
	answered := make(chan error, 1)
	e, run := watchHostile(t, listening.URL, Trigger{Side: Virtual, Object: &corev1.ConfigMap{}}, Trigger{
		Side: Virtual, Object: &corev1.Secret{}, Keys: func(scope *Scope, _ client.Object) []Key {
			answered <- scope.VirtualCache.List(context.Background(), &corev1.ConfigMapList{})
			return nil
		},
	})
	select {
	case err := <-answered:
		if err == nil {
			t.Error("ConfigMaps were listed that nobody has told")
		}
	case <-time.After(40 * time.Second):
		t.Fatal("the trigger waits for what the tenant does not tell")
	}
	letGo(t, e, run)
	listening.CloseClientConnections()
}

// TestATenantThatChangesCanBeLetGo: what is looked at anew for a change waits for the tenant's objects no longer than it is served.
func TestATenantThatChangesCanBeLetGo(t *testing.T) {
	t.Parallel()
	listening := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer listening.Close()
	e, run := watchHostile(t, listening.URL, Trigger{Side: Virtual, Object: &corev1.ConfigMap{}})
	changed := *run.tenant.Load()
	changed.ServiceAddress = "10.96.0.9"
	run.update(changed)
	letGo(t, e, run)
	listening.CloseClientConnections()
}

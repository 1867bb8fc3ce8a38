package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

func TestManifestsAreFilledIn(t *testing.T) {
	objects, err := objects("shop", "example.com/demo:v1")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, object := range objects {
		kinds[object.GetKind()] = true
		if object.GetName() != name || object.GetNamespace() != namespace {
			t.Errorf("%s is %s/%s, want %s/%s", object.GetKind(), object.GetNamespace(), object.GetName(), namespace, name)
		}
		if _, has := object.Object["status"]; has {
			t.Errorf("%s has a status, which is not ours to apply", object.GetKind())
		}
		if object.GetKind() != "Deployment" {
			continue
		}
		deployment := &appsv1.Deployment{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, deployment, true); err != nil {
			t.Fatal(err)
		}
		container := deployment.Spec.Template.Spec.Containers[0]
		if container.Image != "example.com/demo:v1" {
			t.Errorf("image %q", container.Image)
		}
		if container.Env[0].Name != "VIRTUAL_CLUSTER" || container.Env[0].Value != "shop" {
			t.Errorf("first variable %+v, want VIRTUAL_CLUSTER=shop", container.Env[0])
		}
	}
	if !kinds["Deployment"] || !kinds["Service"] || len(objects) != 2 {
		t.Errorf("kinds %v, want a Deployment and a Service", kinds)
	}
}

// proxy answers like the Service proxy of an API server: first the codes, then the text.
func proxy(t *testing.T, codes ...int) *rest.Config {
	t.Helper()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if asked <= len(codes) {
			http.Error(w, "no", codes[asked-1])
			return
		}
		fmt.Fprint(w, "answer from ", r.URL.Path)
	}))
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}
}

func TestAskUntilThereIsAnAnswer(t *testing.T) {
	var details []string
	answer, err := Ask(t.Context(), proxy(t, 503, 502, 500), func(text string) { details = append(details, text) })
	if err != nil {
		t.Fatal(err)
	}
	if answer != "answer from /api/v1/namespaces/default/services/http:hello:http/proxy" {
		t.Errorf("answer %q", answer)
	}
	if len(details) != 3 {
		t.Errorf("%d details, want one for each refusal", len(details))
	}
}

func TestAskEndsWithTheFirstRealRefusal(t *testing.T) {
	_, err := Ask(t.Context(), proxy(t, 503, 403), func(string) {})
	if !apierrors.IsForbidden(err) {
		t.Errorf("error %v, want forbidden", err)
	}
}

func TestAskEndsInTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := WaitAnswers(ctx, &rest.Config{Host: "http://127.0.0.1:1"}, func(string) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the deadline", err)
	}
}

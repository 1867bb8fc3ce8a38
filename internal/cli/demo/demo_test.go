package demo

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
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

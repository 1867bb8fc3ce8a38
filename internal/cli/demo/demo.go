// Package demo deploys a small app inside a virtual cluster, with nothing but the tenant's own kubeconfig, and asks it
// for an answer through the tenant's API server.
//
// It never talks to the host cluster: what it does a tenant can do.
package demo

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/install"
)

//go:embed manifests.yaml
var manifests []byte

// The names in the manifests.
const (
	namespace = "default"
	name      = "hello"
	port      = "http"
)

const (
	fieldOwner  = client.FieldOwner("matry-demo")
	callTimeout = 30 * time.Second
	// again is the pause between two questions to an app whose endpoints are not known everywhere yet.
	again = 200 * time.Millisecond
	// mostAnswer bounds what is read of the answer.
	mostAnswer = 64 << 10
)

// Deploy applies the app in the virtual cluster that config leads to, and waits until it is available.
func Deploy(ctx context.Context, config *rest.Config, virtualCluster, image string, detail func(string)) error {
	virtualClient, err := hostcluster.NewClient(config)
	if err != nil {
		return err
	}
	objects, err := objects(virtualCluster, image)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := apply(ctx, virtualClient, object); err != nil {
			return err
		}
	}
	return install.WaitDeployment(ctx, virtualClient, client.ObjectKey{Namespace: namespace, Name: name}, detail)
}

func apply(ctx context.Context, virtualClient client.Client, object *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := virtualClient.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("apply %s %q in the virtual cluster: %w", object.GetKind(), namespace+"/"+object.GetName(), err)
	}
	return nil
}

// objects are the manifests with the image and the name of the virtual cluster filled in.
func objects(virtualCluster, image string) ([]*unstructured.Unstructured, error) {
	var list []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the demo's manifests: %w", err)
		}
		if object.GetKind() == "Deployment" {
			if err := fill(object, virtualCluster, image); err != nil {
				return nil, err
			}
		}
		list = append(list, object)
	}
}

func fill(object *unstructured.Unstructured, virtualCluster, image string) error {
	deployment := &appsv1.Deployment{}
	converter := runtime.DefaultUnstructuredConverter
	if err := converter.FromUnstructured(object.Object, deployment); err != nil {
		return fmt.Errorf("read the demo's deployment: %w", err)
	}
	container := &deployment.Spec.Template.Spec.Containers[0]
	container.Image = image
	for i := range container.Env {
		if container.Env[i].Name == "VIRTUAL_CLUSTER" {
			container.Env[i].Value = virtualCluster
		}
	}
	content, err := converter.ToUnstructured(deployment)
	if err != nil {
		return fmt.Errorf("write the demo's deployment: %w", err)
	}
	// An empty status is not ours to apply.
	delete(content, "status")
	object.Object = content
	return nil
}

// WaitAnswers waits until the tenant's API server says that it is ready. The state in the VirtualCluster may be that of
// before a restart of the host, which nobody has looked at again yet.
func WaitAnswers(ctx context.Context, config *rest.Config, detail func(string)) error {
	core, err := corev1client.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	return retry(ctx, "ask the API server of the virtual cluster whether it is ready", func() error {
		calling, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		err := core.RESTClient().Get().AbsPath("/readyz").Do(calling).Error()
		if err != nil {
			detail("the API server does not answer yet")
		}
		return err
	})
}

// Ask asks the app for its answer through the Service proxy of the tenant's API server.
func Ask(ctx context.Context, config *rest.Config, detail func(string)) (string, error) {
	core, err := corev1client.NewForConfig(config)
	if err != nil {
		return "", fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	var answer string
	err = retry(ctx, fmt.Sprintf("ask Service %q in the virtual cluster", namespace+"/"+name), func() (err error) {
		if answer, err = askOnce(ctx, core); err != nil {
			detail("the Service does not answer yet")
		}
		return err
	})
	return answer, err
}

// retry asks again until there is an answer. That the question itself is refused is an answer too.
func retry(ctx context.Context, what string, ask func() error) error {
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if isRefused(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; the last answer was: %w", what, ctx.Err(), err)
		case <-time.After(again):
		}
	}
}

// isRefused tells a request that will never succeed from a server that is not there yet.
func isRefused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout
}

func askOnce(ctx context.Context, core corev1client.CoreV1Interface) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := core.Services(namespace).ProxyGet("http", name, port, "/", nil).Stream(ctx)
	if err != nil {
		return "", err
	}
	defer answer.Close()
	content, err := io.ReadAll(io.LimitReader(answer, mostAnswer))
	return string(content), err
}

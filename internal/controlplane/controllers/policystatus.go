package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	apiextensionsscheme "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/scheme"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/cel/openapi/resolver"
	k8sscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
	"k8s.io/kubernetes/pkg/controller/validatingadmissionpolicystatus"
	"k8s.io/kubernetes/pkg/generated/openapi"
)

// keepSchemas is how long the schemas of all built-in kinds stay after they were needed: one policy needs several.
const keepSchemas = time.Minute

// policyStatus is upstream's controller that type-checks ValidatingAdmissionPolicies. It is built here and not from its
// descriptor, because that keeps the schemas of all built-in kinds (6 MiB) for the few policies a tenant may have.
type policyStatus struct {
	controller *validatingadmissionpolicystatus.Controller
	workers    int
}

func (*policyStatus) Name() string { return names.ValidatingAdmissionPolicyStatusController }

func (p *policyStatus) Run(ctx context.Context) { p.controller.Run(ctx, p.workers) }

func newPolicyStatus(c app.ControllerContext) (*policyStatus, error) {
	discovery, err := c.ClientBuilder.DiscoveryClient(names.ValidatingAdmissionPolicyStatusController)
	if err != nil {
		return nil, fmt.Errorf("create the policies' discovery client: %w", err)
	}
	client, err := c.NewClient(names.ValidatingAdmissionPolicyStatusController)
	if err != nil {
		return nil, err
	}
	controller, err := validatingadmissionpolicystatus.NewController(
		c.InformerFactory.Admissionregistration().V1().ValidatingAdmissionPolicies(),
		client.AdmissionregistrationV1().ValidatingAdmissionPolicies(),
		&validating.TypeChecker{
			SchemaResolver: &schemas{custom: &resolver.ClientDiscoveryResolver{Discovery: discovery}},
			RestMapper:     c.RESTMapper,
		})
	if err != nil {
		return nil, fmt.Errorf("create the policy status controller: %w", err)
	}
	workers := int(c.ComponentConfig.ValidatingAdmissionPolicyStatusController.ConcurrentPolicySyncs)
	return &policyStatus{controller: controller, workers: workers}, nil
}

// schemas resolves built-in and custom kinds, and forgets the built-in ones again.
type schemas struct {
	custom resolver.SchemaResolver

	mu      sync.Mutex
	current resolver.SchemaResolver
}

func (s *schemas) ResolveSchema(kind schema.GroupVersionKind) (*spec.Schema, error) {
	return s.resolver().ResolveSchema(kind)
}

func (s *schemas) resolver() resolver.SchemaResolver {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		builtin := resolver.NewDefinitionsSchemaResolver(openapi.GetOpenAPIDefinitions, k8sscheme.Scheme, apiextensionsscheme.Scheme)
		s.current = builtin.Combine(s.custom)
		time.AfterFunc(keepSchemas, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.current = nil
		})
	}
	return s.current
}

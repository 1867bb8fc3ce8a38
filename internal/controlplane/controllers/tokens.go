package controllers

import (
	"context"
	"fmt"
	"os"

	"k8s.io/client-go/util/keyutil"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
	serviceaccountcontroller "k8s.io/kubernetes/pkg/controller/serviceaccount"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

// tokenController fills Secrets of type service-account-token.
type tokenController struct {
	controller *serviceaccountcontroller.TokensController
	workers    int
}

func (t *tokenController) Name() string { return names.ServiceAccountTokenController }

func (t *tokenController) Run(ctx context.Context) { t.controller.Run(ctx, t.workers) }

func newTokenController(ctx context.Context, c app.ControllerContext) (*tokenController, error) {
	key, err := keyutil.PrivateKeyFromFile(c.ComponentConfig.SAController.ServiceAccountKeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the service account key: %w", err)
	}
	rootCA, err := os.ReadFile(c.ComponentConfig.SAController.RootCAFile)
	if err != nil {
		return nil, fmt.Errorf("read the serving CA: %w", err)
	}
	generator, err := serviceaccount.JWTTokenGenerator(serviceaccount.LegacyIssuer, key)
	if err != nil {
		return nil, fmt.Errorf("create the token generator: %w", err)
	}
	client, err := c.NewClient("tokens-controller")
	if err != nil {
		return nil, err
	}
	controller, err := serviceaccountcontroller.NewTokensController(klog.FromContext(ctx),
		c.InformerFactory.Core().V1().ServiceAccounts(), c.InformerFactory.Core().V1().Secrets(), client,
		serviceaccountcontroller.TokensControllerOptions{TokenGenerator: generator, RootCA: rootCA})
	if err != nil {
		return nil, fmt.Errorf("create the token controller: %w", err)
	}
	return &tokenController{controller: controller, workers: int(c.ComponentConfig.SAController.ConcurrentSATokenSyncs)}, nil
}

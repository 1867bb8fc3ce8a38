package node

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	logsapi "k8s.io/component-base/logs/api/v1"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/pki"
)

// RunWorker is the process of the second node: what runs on every node of a cluster, and nothing of the control plane, which must be
// there already. It returns when ctx ends or a component does.
func RunWorker(ctx context.Context, config Config) error {
	report := &phases{out: config.Reports}
	if err := runWorker(ctx, config, report); err != nil {
		return errors.Join(err, report.fail(err))
	}
	return nil
}

func runWorker(ctx context.Context, config Config, report *phases) error {
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	node := config.worker()
	if err := prepareCgroups(node.layout); err != nil {
		return err
	}
	if err := writeResolverConfig(node.layout); err != nil {
		return err
	}
	files := pki.In(config.Layout.Data("pki"))
	client, err := newClient(files.Kubeconfig(pki.Admin))
	if err != nil {
		return err
	}
	policies, err := newNetworkPolicies(client, config.Logger)
	if err != nil {
		return err
	}
	groupCtx, stop := context.WithCancelCause(ctx)
	g := &group{ctx: groupCtx, cancel: stop}
	g.startKubelet(node, files, policies.Fence)
	g.start("network policies", policies.Run)
	g.start("kube-proxy", func(ctx context.Context) error { return runKubeProxy(ctx, node, files) })
	g.start("start of the node", func(ctx context.Context) error {
		registered := func() error { return nil }
		return watchNode(ctx, client, node.name, registered, report.track(control.PhaseWorkerReady))
	})
	<-groupCtx.Done()
	if !waitAtMost(stopTimeout, g.running.Wait) {
		config.Logger.Warn("Components of the second node did not end in time", "timeout", stopTimeout.String())
	}
	if ctx.Err() == nil {
		return context.Cause(groupCtx)
	}
	return nil
}

// forgetWorker takes away the second node that an earlier start of the host has had, and with it, by the controllers, its pods.
func forgetWorker(ctx context.Context, client kubernetes.Interface) error {
	err := client.CoreV1().Nodes().Delete(ctx, WorkerName, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove the node %q, which the host does not have any more: %w", WorkerName, err)
	}
	return nil
}

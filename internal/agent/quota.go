package agent

import (
	"context"
	"fmt"
	"net"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/matryoshka-dev/matryoshka/internal/tenancy/quota"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// makeQuotas makes the keeper of accounts' quotas, which those ask who make namespaces.
func (a *agent) makeQuotas() error {
	var err error
	a.quotas, err = quota.New(quota.Options{
		Host: rest.CopyConfig(a.config.Host), Shards: a.shards, Replica: a.config.Replica, Log: a.log.With("part", "quota"),
	})
	return err
}

// addQuotas runs it, with the webhook that the host's API server asks. Its certificate is of the doors' authority.
func (a *agent) addQuotas(ctx context.Context) error {
	for _, run := range []func(context.Context) error{
		a.quotas.Run,
		func(ctx context.Context) error {
			a.quotas.KeepWebhook(ctx, a.door.CertificatePEM)
			return nil
		},
	} {
		if err := a.manager.Add(manager.RunnableFunc(run)); err != nil {
			return fmt.Errorf("add the keeper of quotas: %w", err)
		}
	}
	name := fmt.Sprintf("%s.%s.svc", webhookService, a.config.Namespace)
	serving := pki.NewDoorServing(a.door, []string{name}, clock.RealClock{})
	return a.listen(ctx, "webhook of quotas", a.config.QuotaWebhookListen, func(ctx context.Context, listener net.Listener) error {
		return a.quotas.Serve(ctx, listener, serving.Certificate)
	})
}

// webhookService is the Service by which the host's API server reaches the webhook. It is not the one of the doors, so that a
// certificate of theirs is none for it.
const webhookService = "matryoshka-agent-quota"

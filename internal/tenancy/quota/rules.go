package quota

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

const (
	// WebhookName is the ValidatingWebhookConfiguration of the chart. The agent fills in whom the API server may trust, and what there
	// is to ask for; the rest of it is the chart's.
	WebhookName = "matryoshka-quota"
	// webhookCheck is how often somebody's changes to it are looked for.
	webhookCheck = 30 * time.Second
)

// KeepWebhook keeps the webhook's configuration until the context ends. Every replica does so, and all write the same. ca is the
// authority of the certificates that Serve is given.
func (c *Controller) KeepWebhook(ctx context.Context, ca func() []byte) {
	if !c.Synced(ctx) {
		return
	}
	for {
		if err := c.keepWebhook(ctx, ca()); err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) {
			c.log.Warn("Cannot keep the webhook of quotas; requests may be refused though an account has room", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.quotasChanged:
		case <-time.After(webhookCheck):
		}
	}
}

func (c *Controller) keepWebhook(ctx context.Context, ca []byte) error {
	quotas, err := c.quotas(ctx, "")
	if err != nil {
		return err
	}
	var configuration admissionv1.ValidatingWebhookConfiguration
	err = c.host.Get(ctx, client.ObjectKey{Name: WebhookName}, &configuration)
	if apierrors.IsNotFound(err) {
		return nil // whoever installed the chart does not want it
	}
	if err != nil {
		return fmt.Errorf("get ValidatingWebhookConfiguration %q: %w", WebhookName, err)
	}
	wanted, isSame := rulesOf(quotas), true
	for index := range configuration.Webhooks {
		one := &configuration.Webhooks[index]
		if !bytes.Equal(one.ClientConfig.CABundle, ca) || !equality.Semantic.DeepEqual(one.Rules, wanted) {
			one.ClientConfig.CABundle, one.Rules, isSame = ca, wanted, false
		}
	}
	if isSame {
		return nil
	}
	if err := c.host.Update(ctx, &configuration); err != nil {
		return fmt.Errorf("write ValidatingWebhookConfiguration %q: %w", WebhookName, err)
	}
	return nil
}

// rulesOf are the requests that some quota counts, and no others. Secrets are counted, too, but never sent to anybody: where there is
// no room for one, it is refused until the next look at the quota.
func rulesOf(quotas []tenancyv1alpha1.AccountQuota) []admissionv1.RuleWithOperations {
	const create, update = admissionv1.Create, admissionv1.Update
	wanted := map[string]admissionv1.RuleWithOperations{}
	add := func(group string, resource string, operations ...admissionv1.OperationType) {
		wanted[group+"/"+resource] = admissionv1.RuleWithOperations{
			Operations: operations,
			Rule: admissionv1.Rule{
				APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: []string{resource}, Scope: new(admissionv1.NamespacedScope),
			},
		}
	}
	for index := range quotas {
		for name := range quotas[index].Spec.Quota.Hard {
			text := string(name)
			counted, isCount := strings.CutPrefix(text, "count/")
			switch {
			case counted == "secrets", name == corev1.ResourceSecrets:
			case isCount && (counted == "services" || counted == "persistentvolumeclaims"):
				add("", counted, create, update)
			case isCount:
				resource, group, _ := strings.Cut(counted, ".")
				add(group, resource, create)
			case strings.HasPrefix(text, "services"):
				add("", "services", create, update)
			case name == corev1.ResourcePersistentVolumeClaims, name == corev1.ResourceRequestsStorage, strings.Contains(text, ".storageclass."):
				add("", "persistentvolumeclaims", create, update)
			case name == corev1.ResourceConfigMaps, name == corev1.ResourceReplicationControllers:
				add("", text, create)
			default:
				add("", "pods", create)
				add("", "pods/resize", update)
			}
		}
	}
	rules := make([]admissionv1.RuleWithOperations, 0, len(wanted))
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		rules = append(rules, wanted[key])
	}
	return rules
}

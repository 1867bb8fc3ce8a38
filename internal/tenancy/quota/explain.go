package quota

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// What the host's quota admission says. The numbers in it are those of one namespace's part, which means nothing to anybody.
var (
	exceeded    = regexp.MustCompile(`exceeded quota: ` + mapping.ReservedPrefix + `([a-z0-9-]+), requested: (\S+), used: \S+, limited: \S+`)
	unspecified = regexp.MustCompile(`failed quota: ` + mapping.ReservedPrefix + `([a-z0-9-]+): (must specify .*)`)
	uncounted   = regexp.MustCompile(`status unknown for quota: ` + mapping.ReservedPrefix + `([a-z0-9-]+), resources: .*`)
)

// Explain puts a refusal of the host in a namespace into the words of the account's quota; ok is false if it is none of a quota of
// an account. What was refused is asked for, so that it gets room when there is some, webhook or not.
func (c *Controller) Explain(ctx context.Context, namespace, message string) (explained string, ok bool) {
	c.askFor(ctx, namespace, message)
	return explain(message, func(name string) (used, hard amounts, ok bool) {
		var quota tenancyv1alpha1.AccountQuota
		if err := c.cache.Get(ctx, client.ObjectKey{Name: name}, &quota, client.UnsafeDisableDeepCopy); err != nil {
			return nil, nil, false
		}
		return c.book(name).used(), bounds(&quota), true
	})
}

// askFor leaves a wish for what was refused.
func (c *Controller) askFor(ctx context.Context, namespace, message string) {
	found := exceeded.FindStringSubmatch(message)
	if found == nil {
		return
	}
	asked, ok := askedFor(found[2])
	if !ok {
		return
	}
	part := &corev1.ResourceQuota{}
	if err := c.cache.Get(ctx, client.ObjectKey{Namespace: namespace, Name: resourceQuotaName(found[1])}, part); err != nil {
		return
	}
	used, wanted := amountsOf(part.Status.Used), wish{Hard: amounts{}, At: c.options.Clock.Now()}
	for name, quantity := range asked {
		wanted.Hard[name] = plus(used[name], amountOf(name, quantity))
	}
	if !c.hasAsked(part, wanted) {
		c.leave(ctx, client.ObjectKeyFromObject(part), wanted)
	}
}

// hasAsked tells whether this replica has left a wish that says as much and will last for a while.
func (c *Controller) hasAsked(part *corev1.ResourceQuota, wanted wish) bool {
	var last wish
	return json.Unmarshal([]byte(part.Annotations[wishKey(c.options.Replica)]), &last) == nil && wanted.isIn(last)
}

// isIn tells whether another wish asks for as much and will for a while.
func (w wish) isIn(other wish) bool {
	for name, amount := range w.Hard {
		if other.Hard[name] < amount {
			return false
		}
	}
	return w.At.Sub(other.At) < wishLasts/2
}

// askedFor reads what admission says was requested.
func askedFor(text string) (corev1.ResourceList, bool) {
	asked := corev1.ResourceList{}
	for _, one := range strings.Split(text, ",") {
		name, amount, _ := strings.Cut(one, "=")
		quantity, err := resource.ParseQuantity(amount)
		if err != nil {
			return nil, false
		}
		asked[corev1.ResourceName(name)] = quantity
	}
	return asked, true
}

func explain(message string, lookUp func(quota string) (used, hard amounts, ok bool)) (explained string, ok bool) {
	if found := unspecified.FindStringSubmatch(message); found != nil {
		return fmt.Sprintf("the quota %q of the account bounds what containers ask for, so each one %s; state it, or have a LimitRange state defaults", found[1], found[2]), true
	}
	if found := uncounted.FindStringSubmatch(message); found != nil {
		return fmt.Sprintf("the quota %q of the account is new here; this is tried again in a moment", found[1]), true
	}
	found := exceeded.FindStringSubmatch(message)
	if found == nil {
		return "", false
	}
	used, hard, ok := lookUp(found[1])
	if !ok {
		return "", false
	}
	all, ok := askedFor(found[2])
	if !ok {
		return "", false
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		asked := all[name]
		usedNow, hardNow := quantityOf(name, used[name]), quantityOf(name, hard[name])
		parts = append(parts, fmt.Sprintf("%s: asked %s, used %s, hard %s", name, asked.String(), usedNow.String(), hardNow.String()))
	}
	return fmt.Sprintf("the quota %q of the account has no room for it (%s); it begins by itself when there is room", found[1], strings.Join(parts, "; ")), true
}

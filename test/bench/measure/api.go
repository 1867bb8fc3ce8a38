package measure

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

func apiRows() []string {
	var rows []string
	for _, verb := range report.Verbs {
		rows = append(rows, report.APIRow(verb))
	}
	return rows
}

// apiNamespace is that of the calls, on both sides. Nothing in it refers to the objects, so none of them is copied.
const apiNamespace = "bench-api"

// apiLatency makes the same calls to both API servers, turn by turn, so that whatever the machine does beside hits both.
func apiLatency(ctx context.Context, b *Bench) error {
	return b.withTenant(ctx, "api", func(ctx context.Context, tenant *lab.Tenant) error {
		for _, side := range []kubernetes.Interface{b.Host.Client, tenant.Client} {
			if err := newNamespace(ctx, side, apiNamespace); err != nil {
				return err
			}
		}
		defer b.dropHostNamespace(apiNamespace)
		for _, verb := range report.Verbs {
			onHost, inTenant, err := b.compare(ctx, verb, tenant)
			if err != nil {
				return err
			}
			host := report.Summarise(onHost)
			virtual := report.Summarise(inTenant)
			b.record(report.Figure{
				Row: report.APIRow(verb), Summary: report.Ratio(virtual, host), Store: b.stores(),
				Note: fmt.Sprintf("p50/p99 %.1f/%.1f ms in the tenant, %.1f/%.1f on the host; both past the doors, 1 KiB ConfigMaps", virtual.Median, virtual.P99, host.Median, host.P99),
			})
		}
		return nil
	})
}

func (b *Bench) compare(ctx context.Context, verb string, tenant *lab.Tenant) (onHost, inTenant []float64, err error) {
	for i := range b.Options.Samples {
		host, err := timedCall(ctx, b.Host.Client, verb, i)
		if err != nil {
			return nil, nil, fmt.Errorf("on the host: %w", err)
		}
		virtual, err := timedCall(ctx, tenant.Client, verb, i)
		if err != nil {
			return nil, nil, fmt.Errorf("in the tenant: %w", err)
		}
		onHost, inTenant = append(onHost, host), append(inTenant, virtual)
	}
	return onHost, inTenant, nil
}

func timedCall(ctx context.Context, side kubernetes.Interface, verb string, number int) (float64, error) {
	begin := time.Now()
	if err := call(ctx, side, verb, fmt.Sprintf("map-%d", number)); err != nil {
		return 0, fmt.Errorf("%s: %w", verb, err)
	}
	return milliseconds(time.Since(begin)), nil
}

func call(ctx context.Context, side kubernetes.Interface, verb, name string) error {
	maps := side.CoreV1().ConfigMaps(apiNamespace)
	var err error
	switch verb {
	case "CREATE":
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"text": strings.Repeat("x", 1024)}}
		_, err = maps.Create(ctx, object, metav1.CreateOptions{})
	case "GET":
		_, err = maps.Get(ctx, name, metav1.GetOptions{})
	case "LIST":
		_, err = maps.List(ctx, metav1.ListOptions{})
	case "PATCH":
		_, err = maps.Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"more":"y"}}`), metav1.PatchOptions{})
	case "DELETE":
		err = maps.Delete(ctx, name, metav1.DeleteOptions{})
	default:
		err = fmt.Errorf("%q is no verb that is compared", verb)
	}
	return err
}

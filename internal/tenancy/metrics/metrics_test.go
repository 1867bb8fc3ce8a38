package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster"
)

// TestMetrics: what is shown is what the objects say. They are only read, which a cache of objects does as well.
func TestMetrics(t *testing.T) {
	ready := []metav1.Condition{{Type: tenancyv1alpha1.ConditionReady, Status: metav1.ConditionTrue}}
	asleep := append([]metav1.Condition{{Type: tenancyv1alpha1.ConditionAsleep, Status: metav1.ConditionTrue}}, ready...)
	objects := []client.Object{
		&tenancyv1alpha1.Account{
			ObjectMeta: metav1.ObjectMeta{Name: "a"},
			Spec:       tenancyv1alpha1.AccountSpec{VirtualClusters: tenancyv1alpha1.AccountVirtualClusters{Limit: new(int32(3))}},
			Status:     tenancyv1alpha1.AccountStatus{Spaces: 2, VirtualClusters: 1, RunningVirtualClusters: 1, Conditions: ready},
		},
		&tenancyv1alpha1.Account{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Spec: tenancyv1alpha1.AccountSpec{Suspended: true}},
		&tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: "s1"}, Status: tenancyv1alpha1.SpaceStatus{Conditions: ready}},
		&tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: "s2"}, Status: tenancyv1alpha1.SpaceStatus{Conditions: asleep}},
		&tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: "s3"}},
		&tenancyv1alpha1.AccountQuota{
			ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: tenancyv1alpha1.AccountQuotaSpec{Account: "a"},
			Status: tenancyv1alpha1.AccountQuotaStatus{
				Used: corev1.ResourceList{"requests.cpu": resource.MustParse("1500m")}, Hard: corev1.ResourceList{"requests.cpu": resource.MustParse("2")},
			},
		},
	}
	scheme, err := virtualcluster.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	if err := tenancy.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	cached := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	if err := Register(Options{Cached: cached, Shards: shards.All(), Registerer: registry}); err != nil {
		t.Fatal(err)
	}
	const want = `
# HELP matryoshka_account_limit The limits of an account; what is not limited is not there.
# TYPE matryoshka_account_limit gauge
matryoshka_account_limit{account="a",counted="virtualclusters"} 3
# HELP matryoshka_account_quota_hard What an account may use by a quota.
# TYPE matryoshka_account_quota_hard gauge
matryoshka_account_quota_hard{account="a",quota="q",resource="requests.cpu"} 2
# HELP matryoshka_account_quota_used What an account uses of a quota.
# TYPE matryoshka_account_quota_used gauge
matryoshka_account_quota_used{account="a",quota="q",resource="requests.cpu"} 1.5
# HELP matryoshka_accounts Accounts, by state: ready, suspended or unready.
# TYPE matryoshka_accounts gauge
matryoshka_accounts{state="ready"} 1
matryoshka_accounts{state="suspended"} 1
matryoshka_accounts{state="unready"} 0
# HELP matryoshka_spaces Spaces, by state: ready, asleep, unready or terminating.
# TYPE matryoshka_spaces gauge
matryoshka_spaces{state="asleep"} 1
matryoshka_spaces{state="ready"} 1
matryoshka_spaces{state="terminating"} 0
matryoshka_spaces{state="unready"} 1
`
	err = testutil.GatherAndCompare(registry, strings.NewReader(want), "matryoshka_account_limit", "matryoshka_account_quota_hard",
		"matryoshka_account_quota_used", "matryoshka_accounts", "matryoshka_spaces")
	if err != nil {
		t.Error(err)
	}
}

package quota

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDistribute(t *testing.T) {
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	for name, tc := range map[string]struct {
		total int64
		plots []plot
		want  []int64
	}{
		"Fresh":        {100, []plot{{}, {}}, []int64{25, 25}},
		"SlackStays":   {100, []plot{{hard: 30, used: 5}, {hard: 25}}, []int64{30, 25}},
		"LowIsRaised":  {100, []plot{{hard: 20, used: 20}, {hard: 25}}, []int64{40, 25}},
		"Wish":         {10, []plot{{hard: 2, used: 2, want: 9}, {hard: 4}}, []int64{9, 0}},
		"NewestFirst":  {10, []plot{{used: 2, want: 8, wantedAt: early}, {used: 2, want: 6, wantedAt: late}}, []int64{4, 6}},
		"WishTooLarge": {10, []plot{{used: 2, want: 1000}, {used: 1}}, []int64{9, 1}},
		"WishIsMet":    {10, []plot{{hard: 5, used: 5, want: 5}, {hard: 1, used: 1}}, []int64{6, 2}},
		"Over":         {5, []plot{{hard: 4, used: 4}, {hard: 4, used: 4}, {hard: 2}}, []int64{4, 1, 0}},
		"Held":         {10, []plot{{hard: 8, used: 4, held: 4}, {hard: 2, used: 2}}, []int64{4, 2}},
		"Nothing":      {0, []plot{{hard: 3, used: 1}, {}}, []int64{0, 0}},
		"Edited":       {10, []plot{{spec: most, hard: most, used: 1}, {hard: 3, used: 1}}, []int64{3, 3}},
		"None":         {10, nil, []int64{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, distribute(tc.total, tc.plots, 1)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTargetsFit: with what is used beyond them and what is held, targets are within the whole if that is; alone they always are.
func TestTargetsFit(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		total := random.Int64N(1000)
		plots := make([]plot, random.IntN(8))
		needed := int64(0)
		for index := range plots {
			one := plot{used: random.Int64N(120), hard: random.Int64N(300), held: random.Int64N(3) * random.Int64N(20), want: random.Int64N(400)}
			plots[index] = one
			needed += one.used + one.held
		}
		targets := distribute(total, plots, 1)
		sum, claims := int64(0), int64(0)
		for index, target := range targets {
			sum += target
			claims += max(target, plots[index].used) + plots[index].held
			if target < 0 {
				t.Fatalf("target %d of %+v", target, plots)
			}
		}
		if sum > total || needed <= total && claims > total {
			t.Fatalf("targets %v of %d, claims %d: %+v", targets, total, claims, plots)
		}
	}
}

// BenchmarkPlan shows that the time is linear in the number of namespaces.
func BenchmarkPlan(b *testing.B) {
	for _, count := range []int{20, 200, 2000} {
		b.Run(fmt.Sprintf("namespaces=%d", count), func(b *testing.B) {
			total := amounts{"pods": int64(count) * 10, "requests.cpu": int64(count) * 4000, "requests.memory": int64(count) << 33, "limits.cpu": int64(count) * 8000}
			lots := make([]*lot, count)
			for index := range lots {
				lots[index] = &lot{namespace: fmt.Sprint(index), epoch: 1}
				used, hard := amounts{}, amounts{}
				for name, amount := range total {
					used[name] = amount / int64(2*count)
					hard[name] = used[name] + int64(index%7)*amount/int64(20*count)
				}
				lots[index].see(&corev1.ResourceQuota{
					ObjectMeta: metav1.ObjectMeta{ResourceVersion: "1", Annotations: map[string]string{annotationEpoch: "1/a"}},
					Spec:       corev1.ResourceQuotaSpec{Hard: hard.list()},
					Status:     corev1.ResourceQuotaStatus{Hard: hard.list(), Used: used.list()},
				}, time.Unix(0, 0))
			}
			b.ReportAllocs()
			for b.Loop() {
				plan(total, lots, 1, time.Unix(10, 0))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(count), "ns/namespace")
		})
	}
}

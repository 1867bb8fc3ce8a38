package spaces

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What runs although its space sleeps, since it is left out of the sleep, keeps the space from being deleted.
func TestRuns(t *testing.T) {
	going := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{Time: time.Now()}}}
	cases := map[string]struct {
		workload workload
		want     bool
	}{
		"Stopped":          {workload{object: &appsv1.Deployment{}, replicas: new(int32(0))}, false},
		"Running":          {workload{object: &appsv1.Deployment{}, replicas: new(int32(1))}, true},
		"BeingDeleted":     {workload{object: going, replicas: new(int32(1))}, false},
		"SuspendedCronJob": {workload{object: &batchv1.CronJob{}, isSuspended: true}, false},
		"CronJob":          {workload{object: &batchv1.CronJob{}}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.workload.runs(); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

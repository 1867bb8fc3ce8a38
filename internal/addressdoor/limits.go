package addressdoor

import (
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/tenantlimit"
)

// allowance of one tenant. A burst is an application with a few hundred Services applied at once.
var allowance = tenantlimit.Allowance{Rate: 50, Burst: 300, Running: 16, Waiting: 64}

func tooMany() error {
	result := status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests,
		"this virtual cluster asks for too many Service addresses at once; try again in a moment")
	result.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: retrySoon}
	return result
}

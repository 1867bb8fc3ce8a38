package addressdoor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor/reservation"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostpace"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostusage"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

var serviceResource = schema.GroupResource{Resource: "services"}

// refused does not tell an unknown tenant from a leaving one.
var refused = status(http.StatusForbidden, metav1.StatusReasonForbidden,
	"the client certificate belongs to no virtual cluster of this host")

// retrySoon is what a client is told about faults that pass by themselves.
const retrySoon = 1

// foreignError says that the Service's place on the host is taken by something that is not the tenant's.
type foreignError struct{ name string }

func (e *foreignError) Error() string {
	return fmt.Sprintf("the host cluster has an object of its own named %q in the place of this namespace", e.name)
}

// predecessorError says that the host Service of an earlier tenant Service of the same name is still being deleted.
type predecessorError struct{ name string }

func (e *predecessorError) Error() string {
	return fmt.Sprintf("the host cluster is still deleting the Service %q that was here before", e.name)
}

// leavingError says that the mapped namespace of an earlier tenant namespace of the same name is still being deleted.
type leavingError struct{ namespace string }

func (e *leavingError) Error() string {
	return fmt.Sprintf("the host cluster is still deleting the namespace %q that was here before", e.namespace)
}

// existsError says that the tenant has a Service of this name already.
type existsError struct{ name string }

func (e *existsError) Error() string { return fmt.Sprintf("the tenant has a Service %q", e.name) }

// explain turns an error into what the tenant may read. What it leaves out goes into the agent's log.
func (d *Door) explain(ctx context.Context, tenant tenants.Tenant, request reservation.Request, err error) error {
	service := &request.Service
	log := d.Log.With("vcluster", tenant.UID, "namespace", service.Namespace, "name", service.Name)
	if foreign := (&foreignError{}); errors.As(err, &foreign) {
		log.Warn("Service is in the way on the host", "error", err)
		return conflict(service.Name, err.Error()+"; choose another name, or ask the operator of the host cluster to remove it")
	}
	if predecessor := (&predecessorError{}); errors.As(err, &predecessor) {
		return unavailable(err.Error() + "; try again in a moment")
	}
	if leaving := (&leavingError{}); errors.As(err, &leaving) {
		return unavailable(err.Error() + "; try again in a moment")
	}
	if exists := (&existsError{}); errors.As(err, &exists) {
		return apierrors.NewAlreadyExists(serviceResource, exists.name)
	}
	if exceeded := (&hostusage.ExceededError{}); errors.As(err, &exceeded) {
		return apierrors.NewForbidden(serviceResource, service.Name, exceeded)
	}
	if busy := (&hostpace.BusyError{}); errors.As(err, &busy) {
		log.Info("Reservation must be retried", "error", err)
		return unavailable("the host cluster is busy; try again in a moment")
	}
	answered, ok := hostStatus(err)
	if !ok {
		log.Error("Reservation failed", "error", err)
		return unavailable("the host cluster could not be asked for the addresses of the Service; try again in a moment")
	}
	switch answered.Reason {
	case metav1.StatusReasonInvalid:
		return invalid(tenant, request, answered)
	case metav1.StatusReasonForbidden:
		// It may be a quota, a policy, or a right that the agent lacks; the text names host users and objects.
		if d.Explain != nil {
			if explained, ok := d.Explain(ctx, mapping.HostNamespace(tenant.ID, service.Namespace), answered.Message); ok {
				return apierrors.NewForbidden(serviceResource, service.Name, errors.New(explained))
			}
		}
		log.Warn("Host refused a reservation", "error", err)
		return apierrors.NewForbidden(serviceResource, service.Name,
			errors.New("the host cluster does not admit this Service (a quota or policy of the host); ask its operator"))
	case metav1.StatusReasonTooManyRequests, metav1.StatusReasonServerTimeout, metav1.StatusReasonTimeout,
		metav1.StatusReasonServiceUnavailable, metav1.StatusReasonConflict:
		log.Info("Reservation must be retried", "error", err)
		return unavailable("the host cluster is busy with this Service; try again in a moment")
	}
	log.Error("Reservation failed", "error", err)
	return status(http.StatusInternalServerError, metav1.StatusReasonInternalError,
		"the addresses of the Service could not be reserved on the host cluster; the agent's log has the reason")
}

func hostStatus(err error) (metav1.Status, bool) {
	var answered apierrors.APIStatus
	if !errors.As(err, &answered) {
		return metav1.Status{}, false
	}
	return answered.Status(), true
}

// invalid passes the host's field errors on. They speak of a Service of the same name and the same fields; only the
// name of the namespace differs.
func invalid(tenant tenants.Tenant, request reservation.Request, answered metav1.Status) error {
	service := &request.Service
	hostNamespace := mapping.HostNamespace(tenant.ID, service.Namespace)
	translated := func(text string) string { return strings.ReplaceAll(text, hostNamespace, service.Namespace) }
	details := &metav1.StatusDetails{Name: service.Name, Kind: "Service"}
	var messages []string
	if answered.Details != nil {
		for _, cause := range answered.Details.Causes {
			cause.Message = translated(cause.Message)
			details.Causes = append(details.Causes, cause)
			messages = append(messages, cause.Field+": "+cause.Message)
		}
	}
	if len(messages) == 0 {
		messages = append(messages, translated(answered.Message))
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusUnprocessableEntity,
		Reason:  metav1.StatusReasonInvalid,
		Message: fmt.Sprintf("Service %q is invalid on the host cluster: %s", service.Name, strings.Join(messages, ", ")),
		Details: details,
	}}
}

func conflict(name, message string) error {
	result := status(http.StatusConflict, metav1.StatusReasonConflict, message)
	result.ErrStatus.Details = &metav1.StatusDetails{Name: name, Kind: "services"}
	return result
}

func unavailable(message string) error {
	result := status(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, message)
	result.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: retrySoon}
	return result
}

func status(code int32, reason metav1.StatusReason, message string) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	}}
}

// writeError answers with a metav1.Status, as an API server would.
func writeError(w http.ResponseWriter, err error) {
	answer, ok := hostStatus(err)
	if !ok {
		answer = status(http.StatusInternalServerError, metav1.StatusReasonInternalError, "internal error").ErrStatus
	}
	answer.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	w.Header().Set("Content-Type", "application/json")
	if answer.Details != nil && answer.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(answer.Details.RetryAfterSeconds)))
	}
	w.WriteHeader(int(answer.Code))
	// The client is gone if this fails; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(answer)
}

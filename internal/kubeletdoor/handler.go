package kubeletdoor

import (
	"errors"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// serveKubelet answers one request inside a tunnel.
func (d *Door) serveKubelet(w http.ResponseWriter, r *http.Request) {
	t, ok := tunnelOf(r.Context())
	if !ok {
		http.Error(w, "no tunnel", http.StatusInternalServerError)
		return
	}
	// Asked again for each request: a tunnel may be older than the deletion of its owner.
	tenant, ok := d.Tenants.ByUID(t.owner)
	if !ok || tenant.Terminating {
		http.Error(w, "the virtual cluster is being deleted", http.StatusForbidden)
		return
	}
	release, ok := d.limits.acquire(tenant.UID)
	if !ok {
		http.Error(w, "this virtual cluster has too many logs, exec and port-forward streams open; close some", http.StatusTooManyRequests)
		return
	}
	defer release()
	if path, ok := parseNode(r); ok {
		d.serveNode(w, r, tenant, t.node, path)
		return
	}
	if request, ok := parsePod(r); ok {
		d.servePod(w, r, tenant, request)
		return
	}
	http.NotFound(w, r)
}

func (d *Door) servePod(w http.ResponseWriter, r *http.Request, tenant tenants.Tenant, request podRequest) {
	hostPod, err := d.hostPod(r, tenant, request)
	if err != nil {
		d.refuse(w, tenant, request, err)
		return
	}
	if request.action == actionRun {
		d.run(w, r, tenant, request, hostPod)
		return
	}
	query, err := request.hostQuery()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.Log.Info("Kubelet request forwarded", "vcluster", tenant.UID, "action", request.action,
		"namespace", request.namespace, "name", request.pod, "container", request.container)
	d.proxy.serve(w, r, tenant, request, hostPod, query)
}

// errNoPod says that the tenant has no such pod on the host.
var errNoPod = errors.New("no such pod")

// hostPod finds the host pod that a request is about, live, and makes sure that it is this tenant's.
func (d *Door) hostPod(r *http.Request, tenant tenants.Tenant, request podRequest) (*corev1.Pod, error) {
	namespace := mapping.HostNamespace(tenant.ID, request.namespace)
	hostPod, err := d.host.CoreV1().Pods(namespace).Get(r.Context(), mapping.HostName("Pod", request.pod), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, errNoPod
	}
	if err != nil {
		return nil, fmt.Errorf("get the host pod: %w", err)
	}
	isOwn := hostPod.Labels[mapping.LabelID] == tenant.ID &&
		hostPod.Labels[mapping.LabelUID] == string(tenant.UID) &&
		hostPod.Labels[mapping.LabelTenantNamespace] == request.namespace
	virtualUID := types.UID(hostPod.Annotations[mapping.AnnotationTenantUID])
	if !isOwn || virtualUID == "" || request.uid != "" && request.uid != virtualUID {
		return nil, errNoPod
	}
	return hostPod, nil
}

// refuse tells why nothing was forwarded.
func (d *Door) refuse(w http.ResponseWriter, tenant tenants.Tenant, request podRequest, err error) {
	if errors.Is(err, errNoPod) {
		// As a kubelet says it.
		http.Error(w, fmt.Sprintf("pod does not exist: %s/%s has not been started on this node", request.namespace, request.pod), http.StatusNotFound)
		return
	}
	d.Log.Error("Kubelet request failed", "vcluster", tenant.UID, "action", request.action,
		"namespace", request.namespace, "name", request.pod, "error", err)
	http.Error(w, "the pod cannot be looked up on the host cluster; try again in a moment", http.StatusServiceUnavailable)
}

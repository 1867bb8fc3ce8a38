package kubeletdoor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

const tenantUID = mapping.AnnotationTenantUID

const (
	// runTimeout bounds a command of /run, which nobody can stop.
	runTimeout = 2 * time.Minute
	// maxRunOutput bounds its output.
	maxRunOutput = 1 << 20
)

// run is the kubelet's /run: a command without a stream, whose output is the answer.
func (d *Door) run(w http.ResponseWriter, r *http.Request, tenant tenants.Tenant, request podRequest, hostPod *corev1.Pod) {
	command := strings.Split(request.query.Get("cmd"), " ")
	if command[0] == "" {
		http.Error(w, "the parameter cmd is missing", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), runTimeout)
	defer cancel()
	output := &boundedBuffer{}
	err := d.execute(ctx, hostPod, request.container, command, output)
	exit := utilexec.CodeExitError{}
	switch {
	case errors.As(err, &exit):
		http.Error(w, fmt.Sprintf("command '%s' exited with %d: %s", strings.Join(command, " "), exit.Code, output.text.String()), http.StatusInternalServerError)
	case errors.Is(err, errOutput):
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case err != nil:
		d.Log.Warn("Command failed", "vcluster", tenant.UID, "namespace", request.namespace, "name", request.pod, "error", err)
		http.Error(w, "the command could not be run in the container", http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		writeBody(w, output.text.Bytes())
	}
}

func (d *Door) execute(ctx context.Context, hostPod *corev1.Pod, container string, command []string, output io.Writer) error {
	target := d.proxy.base.JoinPath("api", "v1", "namespaces", hostPod.Namespace, "pods", hostPod.Name, string(actionExec))
	query := podRequest{action: actionExec, container: container, query: map[string][]string{
		corev1.ExecStdoutParam: {"1"}, corev1.ExecStderrParam: {"1"}, "command": command,
	}}
	values, err := query.hostQuery()
	if err != nil {
		return err
	}
	target.RawQuery = values.Encode()
	executor, err := remotecommand.NewSPDYExecutor(rest.CopyConfig(d.HostConfig), http.MethodPost, target)
	if err != nil {
		return fmt.Errorf("prepare the command: %w", err)
	}
	return executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: output, Stderr: output})
}

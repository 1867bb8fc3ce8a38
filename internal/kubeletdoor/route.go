package kubeletdoor

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// action is what a request wants from a pod, named as the pod's subresource on the host.
type action string

const (
	actionLog         action = "log"
	actionExec        action = "exec"
	actionAttach      action = "attach"
	actionPortForward action = "portforward"
	// actionRun is the kubelet's /run: exec without a stream. There is no such subresource.
	actionRun action = "run"
)

// podRequest is a request about one pod of the tenant.
type podRequest struct {
	action         action
	namespace, pod string
	// uid is given by some clients; empty otherwise.
	uid types.UID
	// container is empty for port-forward only.
	container string
	query     url.Values
}

// readOrWrite are the methods of streams: WebSocket begins with GET, SPDY with either.
var readOrWrite = []string{http.MethodGet, http.MethodPost}

var podActions = map[string]struct {
	action       action
	hasContainer bool
	// hasUID allows a UID before the container, as the kubelet does.
	hasUID  bool
	methods []string
}{
	"containerLogs": {action: actionLog, hasContainer: true, methods: []string{http.MethodGet}},
	"exec":          {action: actionExec, hasContainer: true, hasUID: true, methods: readOrWrite},
	"attach":        {action: actionAttach, hasContainer: true, hasUID: true, methods: readOrWrite},
	"portForward":   {action: actionPortForward, hasUID: true, methods: readOrWrite},
	"run":           {action: actionRun, hasContainer: true, hasUID: true, methods: []string{http.MethodPost}},
}

// nodePath is a path about the node itself.
type nodePath string

const (
	pathHealthz     nodePath = "/healthz"
	pathPods        nodePath = "/pods"
	pathRunningPods nodePath = "/runningpods"
)

// parsePath splits a path into segments. Only the plain form is understood: whatever is encoded, doubled or relative has
// a second meaning somewhere.
func parsePath(u *url.URL) (segments []string, ok bool) {
	if u.RawPath != "" || u.Opaque != "" || !strings.HasPrefix(u.Path, "/") {
		return nil, false
	}
	segments = strings.Split(u.Path[1:], "/")
	for _, segment := range segments {
		if segment == "" || segment == "." || segment == ".." {
			return nil, false
		}
	}
	return segments, true
}

// parseNode reads a request about the node itself.
func parseNode(r *http.Request) (nodePath, bool) {
	if r.Method != http.MethodGet || r.URL.RawPath != "" {
		return "", false
	}
	// The kubelet's own clients write this one with a slash at its end.
	if r.URL.Path == string(pathRunningPods)+"/" {
		return pathRunningPods, true
	}
	switch path := nodePath(r.URL.Path); path {
	case pathHealthz, pathPods, pathRunningPods:
		return path, true
	}
	return "", false
}

// parsePod reads a request about a pod.
func parsePod(r *http.Request) (podRequest, bool) {
	segments, ok := parsePath(r.URL)
	if !ok || len(segments) < 3 {
		return podRequest{}, false
	}
	form, ok := podActions[segments[0]]
	if !ok || !slices.Contains(form.methods, r.Method) {
		return podRequest{}, false
	}
	request := podRequest{action: form.action, namespace: segments[1], pod: segments[2], query: r.URL.Query()}
	rest := segments[3:]
	if form.hasContainer {
		if len(rest) == 0 {
			return podRequest{}, false
		}
		request.container = rest[len(rest)-1]
		rest = rest[:len(rest)-1]
	}
	if form.hasUID && len(rest) == 1 {
		request.uid = types.UID(rest[0])
		rest = nil
	}
	if len(rest) > 0 || !request.isValid(form.hasContainer) {
		return podRequest{}, false
	}
	return request, true
}

func (r podRequest) isValid(hasContainer bool) bool {
	if len(validation.IsDNS1123Label(r.namespace)) > 0 || len(validation.IsDNS1123Subdomain(r.pod)) > 0 {
		return false
	}
	return !hasContainer || len(validation.IsDNS1123Label(r.container)) == 0
}

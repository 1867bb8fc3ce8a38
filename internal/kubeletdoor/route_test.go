package kubeletdoor

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func request(t testing.TB, method, target string) (*http.Request, bool) {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, false
	}
	return &http.Request{Method: method, URL: u}, true
}

func TestParsePod(t *testing.T) {
	accepted := map[string]podRequest{
		"GET /containerLogs/default/web/app":    {action: actionLog, namespace: "default", pod: "web", container: "app"},
		"POST /exec/default/web.x/app":          {action: actionExec, namespace: "default", pod: "web.x", container: "app"},
		"GET /exec/default/web/uid-1/app":       {action: actionExec, namespace: "default", pod: "web", uid: "uid-1", container: "app"},
		"POST /attach/default/web/app":          {action: actionAttach, namespace: "default", pod: "web", container: "app"},
		"POST /portForward/default/web":         {action: actionPortForward, namespace: "default", pod: "web"},
		"GET /portForward/default/web/uid-1":    {action: actionPortForward, namespace: "default", pod: "web", uid: "uid-1"},
		"POST /run/default/web/app":             {action: actionRun, namespace: "default", pod: "web", container: "app"},
		"POST /exec/default/web/app?command=ls": {action: actionExec, namespace: "default", pod: "web", container: "app", query: url.Values{"command": {"ls"}}},
	}
	for line, want := range accepted {
		method, target, _ := strings.Cut(line, " ")
		r, _ := request(t, method, target)
		got, ok := parsePod(r)
		if !ok {
			t.Errorf("%s was refused", line)
		}
		if want.query == nil {
			want.query = url.Values{}
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(podRequest{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
	refused := []string{
		"POST /containerLogs/default/web/app",
		"DELETE /exec/default/web/app",
		"GET /run/default/web/app",
		"POS /run/default/web/app",
		"ET /containerLogs/default/web/app",
		"get /containerLogs/default/web/app",
		"GET /containerLogs/default/web",
		"GET /containerLogs/default/web/app/more",
		"GET /containerLogs/default/web/uid/app",
		"GET /containerLogs/default/web/app/",
		"GET //containerLogs/default/web/app",
		"GET /containerLogs//web/app",
		"GET /containerLogs/default/../web/app",
		"GET /containerLogs/default/%2e%2e/app",
		"GET /containerLogs/default/we%62/app%2fx",
		"GET /containerLogs/default/web%2f..%2fother/app",
		"GET /containerLogs/kube-system%00/web/app",
		"GET /containerLogs/DEFAULT/web/app",
		"GET /containerLogs/default/web/App",
		"GET /x/containerLogs/default/web/app",
		"GET /containerLogsX/default/web/app",
		"GET /logs/default/web/app",
		"POST /checkpoint/default/web/app",
		"GET /debug/pprof/heap",
		"GET /configz",
		"GET /",
	}
	for _, line := range refused {
		method, target, _ := strings.Cut(line, " ")
		r, ok := request(t, method, target)
		if !ok {
			continue
		}
		if got, ok := parsePod(r); ok {
			t.Errorf("%s was read as %+v", line, got)
		}
	}
}

func TestParseNode(t *testing.T) {
	for target, want := range map[string]nodePath{
		"/healthz": pathHealthz, "/pods": pathPods, "/runningpods": pathRunningPods, "/runningpods/": pathRunningPods,
		"/pods/": "", "/stats/summary": "", "/metrics": "", "/metrics/resource": "", "/%70ods": "", "/healthz/..": "",
	} {
		r, _ := request(t, http.MethodGet, target)
		if got, _ := parseNode(r); got != want && r.URL.RawPath == "" && target != "/%70ods" {
			t.Errorf("%s is %q, want %q", target, got, want)
		}
	}
	r, _ := request(t, http.MethodPost, "/pods")
	if _, ok := parseNode(r); ok {
		t.Error("a POST was accepted")
	}
}

func TestHostQuery(t *testing.T) {
	cases := map[string]struct {
		action action
		query  string
		want   string
		refuse bool
	}{
		"plain log":           {actionLog, "", "container=app", false},
		"all of a log":        {actionLog, "follow=true&previous=true&timestamps=true&sinceSeconds=5&tailLines=3&limitBytes=9&stream=Stdout", "container=app&follow=true&limitBytes=9&previous=true&sinceSeconds=5&stream=Stdout&tailLines=3&timestamps=true", false},
		"since a time":        {actionLog, "sinceTime=2026-01-02T03:04:05Z", "container=app&sinceTime=2026-01-02T03%3A04%3A05Z", false},
		"both streams":        {actionLog, "stream=All", "container=app", false},
		"old tail":            {actionLog, "tail=7&follow=true", "container=app&follow=true&tailLines=7", false},
		"old tail of all":     {actionLog, "tail=all", "container=app", false},
		"other container":     {actionLog, "container=other&insecureSkipTLSVerifyBackend=true&pretty=1", "container=app", false},
		"no number":           {actionLog, "tailLines=x", "", true},
		"negative":            {actionLog, "limitBytes=-1", "", true},
		"no such stream":      {actionLog, "stream=Secret", "", true},
		"exec":                {actionExec, "output=1&error=1&command=sh&command=-c&command=a%26b", "command=sh&command=-c&command=a%26b&container=app&stderr=true&stdin=false&stdout=true&tty=false", false},
		"exec on a terminal":  {actionExec, "input=1&output=1&tty=1&command=sh", "command=sh&container=app&stderr=false&stdin=true&stdout=true&tty=true", false},
		"exec, host's names":  {actionExec, "stdout=true&command=sh", "", true},
		"exec of nothing":     {actionExec, "output=1", "", true},
		"attach":              {actionAttach, "output=1&command=sh", "container=app&stderr=false&stdin=false&stdout=true&tty=false", false},
		"attach to nothing":   {actionAttach, "tty=1", "", true},
		"port-forward":        {actionPortForward, "", "", false},
		"port-forward, ports": {actionPortForward, "port=80,443&ports=81", "ports=80&ports=443&ports=81", false},
		"port-forward, zero":  {actionPortForward, "port=0", "", true},
		"port-forward, large": {actionPortForward, "port=65536", "", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			query, err := url.ParseQuery(tc.query)
			if err != nil {
				t.Fatal(err)
			}
			r := podRequest{action: tc.action, query: query}
			if tc.action != actionPortForward {
				r.container = "app"
			}
			got, err := r.hostQuery()
			if (err != nil) != tc.refuse {
				t.Fatalf("got error %v", err)
			}
			if err == nil && got.Encode() != tc.want {
				t.Errorf("got  %s\nwant %s", got.Encode(), tc.want)
			}
		})
	}
}

func TestParseConnect(t *testing.T) {
	for host, want := range map[string]string{
		"node-1:10250": "node-1", "a.b.c:10250": "a.b.c",
		"node-1:443": "", "node-1": "", ":10250": "", "node/1:10250": "", "NODE:10250": "", "10.0.0.1:10250:10250": "", "[::1]:10250": "",
	} {
		got, err := parseConnect(&http.Request{Method: http.MethodConnect, Host: host})
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q, %v", host, got, err)
		}
	}
	if _, err := parseConnect(&http.Request{Method: http.MethodGet, Host: "node-1:10250"}); err == nil {
		t.Error("a GET was accepted")
	}
}

// FuzzParsePod checks that whatever is accepted is made of plain names, and nothing but known parameters passes.
func FuzzParsePod(f *testing.F) {
	for _, target := range []string{"/exec/default/web/app?command=x", "/exec/default/web/u/app", "/containerLogs/a/b/c?tail=3", "/portForward/a/b?port=1,2", "/exec/%2e%2e/b/c"} {
		f.Add("GET", target)
		f.Add("POST", target)
	}
	name := regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)
	known := map[string]bool{"container": true, "command": true, "stdin": true, "stdout": true, "stderr": true, "tty": true, "ports": true}
	for key := range logForms {
		known[key] = true
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		r, ok := request(t, method, target)
		if !ok {
			return
		}
		got, ok := parsePod(r)
		if !ok {
			return
		}
		if !name.MatchString(got.namespace) || !name.MatchString(got.pod) || got.action != actionPortForward && !name.MatchString(got.container) {
			t.Fatalf("%q was read as %+v", target, got)
		}
		if strings.Contains(got.pod, "..") {
			t.Fatalf("%q was read as %+v", target, got)
		}
		query, err := got.hostQuery()
		if err != nil {
			return
		}
		for key := range query {
			if !known[key] {
				t.Fatalf("%q passed %q on", target, key)
			}
		}
		if got.container != "" && query.Get("container") != got.container {
			t.Fatalf("%q went to container %q", target, query.Get("container"))
		}
	})
}

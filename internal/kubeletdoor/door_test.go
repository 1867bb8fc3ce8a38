package kubeletdoor

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/dooridentity"
)

func TestWhoMayConnect(t *testing.T) {
	f := newFixture(t)
	cases := map[string]struct {
		certificate *tls.Certificate
		target      string
		want        int // 0: no answer at all
	}{
		"a tenant":         {f.doorCA.client(t, "uid-a"), "node-1:10250", http.StatusOK},
		"unknown tenant":   {f.doorCA.client(t, "uid-x"), "node-1:10250", http.StatusForbidden},
		"unknown node":     {f.doorCA.client(t, "uid-a"), "node-9:10250", http.StatusNotFound},
		"another port":     {f.doorCA.client(t, "uid-a"), "node-1:22", http.StatusBadRequest},
		"another CA":       {newAuthority(t).client(t, "uid-a"), "node-1:10250", 0},
		"the kubelets' CA": {f.kubelets.client(t, "uid-a"), "node-1:10250", 0},
		"expired": {f.doorCA.leaf(t, x509.ExtKeyUsageClientAuth, func(c *x509.Certificate) {
			c.URIs, c.NotAfter = append(c.URIs, dooridentity.URI("uid-a")), time.Now().Add(-time.Minute)
		}), "node-1:10250", 0},
		"no name": {f.doorCA.leaf(t, x509.ExtKeyUsageClientAuth, func(*x509.Certificate) {}), "node-1:10250", 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, code, err := f.dial(tc.certificate, tc.target)
			switch {
			case tc.want == 0 && err == nil:
				t.Errorf("answered %d", code)
			case tc.want != 0 && (err != nil || code != tc.want):
				t.Errorf("got %d %v, want %d", code, err, tc.want)
			}
		})
	}
}

func TestLog(t *testing.T) {
	f := newFixture(t)
	response, _ := f.do(f.kubelet("uid-a"), http.MethodGet, "/containerLogs/default/web/app?tailLines=5&pretty=1", http.Header{
		"Authorization": {"Bearer tenant"}, "Impersonate-User": {"admin"}, "X-Remote-User": {"admin"}, "X-Forwarded-For": {"1.2.3.4"}, "Cookie": {"a=b"},
	})
	if got := body(t, response); response.code != http.StatusOK || got != "first line\n" {
		t.Errorf("%d %q", response.code, got)
	}
	if response.header.Get("Audit-Id") != "" {
		t.Error("the host's headers reach the tenant")
	}
	seen := f.lastSeen()
	if seen.URL.Path != "/api/v1/namespaces/"+hostNamespace+"/pods/web/log" || seen.URL.RawQuery != "container=app&tailLines=5" {
		t.Errorf("the host was asked for %s", seen.URL)
	}
	for _, key := range []string{"Impersonate-User", "X-Remote-User", "X-Forwarded-For", "Cookie"} {
		if seen.Header.Get(key) != "" {
			t.Errorf("%s of the tenant reached the host", key)
		}
	}
}

func TestFollowedLogEndsWithItsReader(t *testing.T) {
	f := newFixture(t)
	connection := f.kubelet("uid-a")
	response, _ := f.do(connection, http.MethodGet, "/containerLogs/default/web/app?follow=true", nil)
	line, err := bufio.NewReader(response.body).ReadString('\n')
	if err != nil || line != "first line\n" {
		t.Fatalf("the first line came late or wrong: %q %v", line, err)
	}
	connection.Close()
	waitEnded(t, f)
}

func waitEnded(t *testing.T, f *fixture) {
	t.Helper()
	select {
	case <-f.host.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the stream on the host goes on")
	}
}

func TestStreams(t *testing.T) {
	f := newFixture(t)
	cases := map[string]struct {
		method, target, upgrade, wantPath string
	}{
		"exec over SPDY":          {http.MethodPost, "/exec/default/web/app?command=cat&input=1&output=1", "SPDY/3.1", "exec"},
		"exec over WebSocket":     {http.MethodGet, "/exec/default/web/virtual-uid-1/app?command=cat&input=1&output=1", "websocket", "exec"},
		"attach over SPDY":        {http.MethodPost, "/attach/default/web/app?output=1", "SPDY/3.1", "attach"},
		"port-forward over SPDY":  {http.MethodPost, "/portForward/default/web", "SPDY/3.1", "portforward"},
		"port-forward, WebSocket": {http.MethodGet, "/portForward/default/web?port=80", "websocket", "portforward"},
		"upgrade in another case": {http.MethodPost, "/portForward/default/web", "spdy/3.1", "portforward"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			connection := f.kubelet("uid-a")
			response, buffered := f.do(connection, tc.method, tc.target, http.Header{
				"Connection": {"Upgrade"}, "Upgrade": {tc.upgrade}, "X-Stream-Protocol-Version": {"v4.channel.k8s.io"},
			})
			if response.code != http.StatusSwitchingProtocols || response.header.Get("X-Stream-Protocol-Version") != "v4.channel.k8s.io" {
				t.Fatalf("%d %v", response.code, response.header)
			}
			if _, err := io.WriteString(connection, "hello\n"); err != nil {
				t.Fatal(err)
			}
			if echoed, err := buffered.ReadString('\n'); err != nil || echoed != "hello\n" {
				t.Errorf("got %q, %v", echoed, err)
			}
			if seen := f.lastSeen(); !strings.HasSuffix(seen.URL.Path, "/pods/web/"+tc.wantPath) {
				t.Errorf("the host was asked for %s", seen.URL)
			}
			connection.Close()
			waitEnded(t, f)
		})
	}
}

func TestForeignPods(t *testing.T) {
	f := newFixture(t)
	cases := map[string]struct {
		uid    types.UID
		target string
	}{
		"no such pod":             {"uid-a", "/containerLogs/default/nope/app"},
		"a pod of the host":       {"uid-a", "/containerLogs/default/foreign/app"},
		"labelled as B's":         {"uid-a", "/containerLogs/default/of-b/app"},
		"of an earlier life":      {"uid-a", "/containerLogs/default/reborn/app"},
		"A's pod asked by B":      {"uid-b", "/containerLogs/default/web/app"},
		"another UID":             {"uid-a", "/exec/default/web/virtual-uid-2/app?command=x&output=1"},
		"the host's own UID":      {"uid-a", "/exec/default/web/host-uid-1/app?command=x&output=1"},
		"a host namespace's name": {"uid-a", "/containerLogs/" + hostNamespace + "/web/app"},
		"no path of a kubelet":    {"uid-a", "/api/v1/namespaces/default/pods/web/log"},
		"statistics":              {"uid-a", "/stats/summary"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			response, _ := f.do(f.kubelet(tc.uid), http.MethodGet, tc.target, nil)
			if response.code != http.StatusNotFound {
				t.Errorf("%d %s", response.code, body(t, response))
			}
			f.host.mu.Lock()
			defer f.host.mu.Unlock()
			for _, seen := range f.host.seen {
				for _, subresource := range []string{"/log", "/exec"} {
					if strings.HasSuffix(seen.URL.Path, subresource) {
						t.Errorf("the host was asked for %s", seen.URL)
					}
				}
			}
		})
	}
}

func TestHostErrors(t *testing.T) {
	cases := map[string]struct {
		fail   error
		code   int
		says   string
		hushed string
	}{
		"not started": {apierrors.NewBadRequest(fmt.Sprintf("container \"app\" in pod web_%s(host-uid-1) is waiting to start", hostNamespace)), http.StatusBadRequest, "web_default(virtual-uid-1) is waiting to start", hostNamespace},
		"forbidden":   {apierrors.NewForbidden(corev1.Resource("pods"), "web", fmt.Errorf("User matryoshka-agent cannot")), http.StatusBadGateway, "ask the operator", "matryoshka-agent"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.host.fail = tc.fail
			for _, header := range []http.Header{nil, {"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}}} {
				response, _ := f.do(f.kubelet("uid-a"), http.MethodPost, "/exec/default/web/app?command=x&output=1", header)
				text := body(t, response)
				if response.code != tc.code || !strings.Contains(text, tc.says) || strings.Contains(text, tc.hushed) {
					t.Errorf("%d %q", response.code, text)
				}
			}
		})
	}
}

func TestStreamsEndWithTheirTenant(t *testing.T) {
	f := newFixture(t)
	connection := f.kubelet("uid-a")
	response, buffered := f.do(connection, http.MethodPost, "/portForward/default/web", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}})
	if response.code != http.StatusSwitchingProtocols {
		t.Fatalf("got %d", response.code)
	}
	leaving := f.tenant
	leaving.Terminating = true
	f.registry.Set(leaving)
	if _, err := buffered.ReadByte(); err == nil {
		t.Error("the stream goes on")
	}
	waitEnded(t, f)
}

func TestSeveralRequestsInOneTunnel(t *testing.T) {
	f := newFixture(t)
	connection := f.kubelet("uid-a")
	for range 3 {
		response, _ := f.do(connection, http.MethodGet, "/healthz", nil)
		if got := body(t, response); got != "ok" {
			t.Errorf("%d %q", response.code, got)
		}
	}
}

func TestLimits(t *testing.T) {
	l := newLimits(maxRequestsOfTenant)
	var releases []func()
	for range maxRequestsOfTenant {
		release, ok := l.acquire("uid-a")
		if !ok {
			t.Fatal("refused below the limit")
		}
		releases = append(releases, release)
	}
	if _, ok := l.acquire("uid-a"); ok {
		t.Error("there is no limit")
	}
	if _, ok := l.acquire("uid-b"); !ok {
		t.Error("one tenant's streams hold up another's")
	}
	releases[0]()
	if _, ok := l.acquire("uid-a"); !ok {
		t.Error("a place is not given back")
	}
}

package customresource

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostcopy"
)

type fields = map[string]any

func TestShown(t *testing.T) {
	condition := fields{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "by Secret infra/root"}
	silentCondition := []any{fields{"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""}}
	cases := map[string]struct {
		show            func(map[string]any) (content, status map[string]any)
		host            fields
		content, status fields
	}{
		"gateway class": {
			show: showGatewayClass,
			host: fields{
				"spec":   fields{"controllerName": "a/b", "parametersRef": fields{"name": "root"}},
				"status": fields{"conditions": []any{condition}, "supportedFeatures": []any{"x"}},
			},
			content: fields{"spec": fields{"controllerName": "a/b"}},
			status:  fields{"conditions": silentCondition, "supportedFeatures": []any{"x"}},
		},
		"snapshot class": {
			show:    showSnapshotClass,
			host:    fields{"driver": "d", "deletionPolicy": "Delete", "parameters": fields{"secret": "root"}},
			content: fields{"driver": "d", "deletionPolicy": "Delete"},
		},
		"gateway": {
			show: showGateway,
			host: fields{
				"spec": fields{"gatewayClassName": "c", "infrastructure": fields{"parametersRef": fields{"name": "root"}}, "listeners": []any{
					fields{"name": "a", "port": int64(443), "protocol": "HTTPS", "tls": fields{"mode": "Terminate", "certificateRefs": []any{fields{"name": "root"}}}, "allowedRoutes": fields{"x": "y"}},
					fields{"name": "b", "port": int64(444), "protocol": "TLS", "tls": fields{"mode": "Passthrough"}},
				}},
				"status": fields{"addresses": []any{fields{"value": "192.0.2.1"}}, "listeners": []any{fields{"attachedRoutes": int64(9)}}, "conditions": []any{condition}},
			},
			content: fields{"spec": fields{"gatewayClassName": "c", "listeners": []any{
				fields{"name": "a", "port": int64(443), "protocol": "HTTPS", "tls": fields{"mode": "Terminate", "options": fields{"matryoshka.dev/certificates": "of-the-host"}}, "allowedRoutes": fields{"namespaces": fields{"from": "All"}}},
				fields{"name": "b", "port": int64(444), "protocol": "TLS", "tls": fields{"mode": "Passthrough"}, "allowedRoutes": fields{"namespaces": fields{"from": "All"}}},
			}}},
			status: fields{"addresses": []any{fields{"value": "192.0.2.1"}}, "conditions": silentCondition},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			content, status := test.show(test.host)
			if diff := cmp.Diff(test.content, content); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.status, status); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

// What controllers of a tenant's own say of their Gateways stays when the host says something of its own.
func TestRouteStatus(t *testing.T) {
	virtual := &unstructured.Unstructured{Object: fields{
		"metadata": fields{"namespace": "web", "name": "app"},
		"status": fields{"parents": []any{
			fields{"controllerName": "mine", "parentRef": fields{"name": "own"}},
			fields{"controllerName": "old", "parentRef": fields{"name": "public", "namespace": "kube-system"}},
		}},
	}}
	got := routeStatus(translating{pair: hostcopy.Pair[*unstructured.Unstructured]{Virtual: virtual}}, fields{"parents": []any{
		fields{"controllerName": "host", "parentRef": fields{"name": "public", "namespace": "infra"}, "conditions": []any{}},
	}})
	want := fields{"parents": []any{
		fields{"controllerName": "mine", "parentRef": fields{"name": "own"}},
		fields{"controllerName": "host", "parentRef": fields{"name": "public", "namespace": "kube-system"}, "conditions": []any{}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestCheckMatch(t *testing.T) {
	cases := map[string]struct {
		match fields
		named string
	}{
		"plain":          {fields{"path": fields{"type": "PathPrefix", "value": "/a/b"}, "headers": []any{fields{"name": "x", "value": "y.*"}}, "method": "GET"}, ""},
		"path pattern":   {fields{"path": fields{"type": "RegularExpression", "value": "/a"}}, "matches.path"},
		"path text":      {fields{"path": fields{"value": "/a b"}}, "matches.path"},
		"header pattern": {fields{"headers": []any{fields{"name": "x"}, fields{"type": "RegularExpression"}}}, "matches.headers"},
		"method pattern": {fields{"method": fields{"type": "RegularExpression"}}, "matches.method"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			err := checkMatch("matches", test.match)
			var refusal *engine.Refusal
			if test.named == "" && err != nil || test.named != "" && (!errors.As(err, &refusal) || !strings.Contains(refusal.Message, test.named)) {
				t.Errorf("got %v, want a refusal that names %q", err, test.named)
			}
		})
	}
}

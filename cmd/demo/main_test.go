package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnswers(t *testing.T) {
	env := map[string]string{
		"VIRTUAL_CLUSTER": "hello", "POD_NAMESPACE": "default", "POD_NAME": "hello-0", "POD_IP": "10.0.0.7", "NODE_NAME": "node-1",
	}
	server := httptest.NewServer(newHandler(placeFrom(func(key string) string { return env[key] })))
	defer server.Close()
	client := server.Client()
	client.Timeout = 10 * time.Second

	cases := map[string]struct {
		method, path, accept string
		code                 int
		body                 string
	}{
		"text":   {method: "GET", path: "/", code: 200, body: "Hello from inside virtual cluster \"hello\".\n\nnamespace  default\npod        hello-0\npod IP     10.0.0.7\nnode       node-1\n"},
		"json":   {method: "GET", path: "/", accept: "application/json", code: 200, body: `{"virtualCluster":"hello","namespace":"default","pod":"hello-0","podIP":"10.0.0.7","node":"node-1"}` + "\n"},
		"health": {method: "GET", path: "/healthz", code: 200, body: "ok\n"},
		"other":  {method: "GET", path: "/other", code: 404, body: "404 page not found\n"},
		"write":  {method: "POST", path: "/", code: 405, body: "Method Not Allowed\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Accept", c.accept)
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != c.code {
				t.Errorf("code %d, want %d", response.StatusCode, c.code)
			}
			if diff := cmp.Diff(c.body, string(body)); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

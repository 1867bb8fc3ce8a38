package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: a, context: {cluster: a}}]
current-context: a
`

func TestComplete(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		change func(*Options)
		want   []string
	}{
		"Good":       {change: func(*Options) {}},
		"NoImage":    {change: func(o *Options) { o.Image = "" }, want: []string{"--image is required"}},
		"NoFile":     {change: func(o *Options) { o.Kubeconfig = path + "x" }, want: []string{"--kubeconfig"}},
		"Negative":   {change: func(o *Options) { o.Limits.Objects = -1 }, want: []string{"--tenant-objects"}},
		"Replica":    {change: func(o *Options) { o.Replica = "agent-0" }},
		"NoName":     {change: func(o *Options) { o.Replica = "Agent_0" }, want: []string{`--replica "Agent_0"`}},
		"TheTable":   {change: func(o *Options) { o.Replica = "matryoshka-agent-shards" }, want: []string{"--replica"}},
		"Memory":     {change: func(o *Options) { o.Memory = -1 }, want: []string{"--memory"}},
		"Everything": {change: func(o *Options) { o.Image, o.LogLevel, o.HealthListen = "", "loud", "x" }, want: []string{"--image", `--log-level "loud"`, `--health-listen "x"`}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			options := NewOptions()
			options.Image, options.Kubeconfig = "matryd:v1", path
			tc.change(options)
			config, err := options.Complete()
			if len(tc.want) == 0 {
				if err != nil || config.Host.Host != "https://127.0.0.1:1" {
					t.Errorf("got %+v, %v", config, err)
				}
				return
			}
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want an error with %q", err, want)
				}
			}
		})
	}
}

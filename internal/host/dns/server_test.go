package dns

import (
	"strings"
	"testing"

	"github.com/coredns/caddy/caddyfile"
)

func TestCorefileCanBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		upstream string
		forwards bool
	}{
		"closed":           {"", false},
		"with an upstream": {"192.0.2.53:53", true},
	} {
		t.Run(name, func(t *testing.T) {
			text := corefile(Config{Address: "10.240.0.53", Port: 53, Domain: "cluster.local", Kubeconfig: "/a folder/kubeconfig", Upstream: c.upstream})
			blocks, err := caddyfile.Parse("test", strings.NewReader(text), []string{"bind", "errors", "cache", "loadbalance", "kubernetes", "forward"})
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if len(blocks) != 1 || blocks[0].Keys[0] != ".:53" {
				t.Fatalf("server blocks %+v", blocks)
			}
			if _, forwards := blocks[0].Tokens["forward"]; forwards != c.forwards {
				t.Errorf("forwards: %v\n%s", forwards, text)
			}
		})
	}
}

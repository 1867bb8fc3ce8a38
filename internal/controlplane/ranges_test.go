package controlplane

import (
	"testing"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
)

func TestRangeFlag(t *testing.T) {
	cases := map[string]struct {
		ranges  []string
		address string
		want    string
	}{
		"everything":           {[]string{"0.0.0.0/0"}, "172.20.0.1", "128.0.0.0/2"},
		"everything, low":      {[]string{"0.0.0.0/0"}, "10.0.0.1", "0.0.0.0/2"},
		"half":                 {[]string{"128.0.0.0/1"}, "203.0.113.1", "192.0.0.0/2"},
		"narrow enough":        {[]string{"10.96.0.0/16"}, "10.96.0.1", "10.96.0.0/16"},
		"both families":        {[]string{"0.0.0.0/0", "fd00::/64"}, "10.96.0.1", "0.0.0.0/2,fd00::/64"},
		"second family widest": {[]string{"fd00::/64", "0.0.0.0/0"}, "fd00::1", "fd00::/64,0.0.0.0/2"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := rangeFlag(config.ControlPlane{ServiceRanges: c.ranges, ServiceAddress: c.address}); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

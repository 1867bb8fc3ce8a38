package event

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

const tenantID = "x7k2p3q4"

func testScrubber(tenantNamespace string) scrubber {
	return scrubber{
		tenantID:        tenantID,
		hostNamespace:   mapping.HostNamespace(tenantID, tenantNamespace),
		tenantNamespace: tenantNamespace,
		uids:            map[string]string{"11111111-2222-3333-4444-555555555555": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"},
		hiddenWords:     map[string]bool{"node-9": true, "203.0.113.9": true, "fd00::9": true, "ip-10-0-0-9.internal": true},
	}
}

func TestScrub(t *testing.T) {
	long := strings.Repeat("a", 60)
	cases := map[string]struct {
		namespace string
		message   string
		want      string
	}{
		"plain":               {"web", "Started container db", "Started container db"},
		"scheduled":           {"web", "Successfully assigned vc-x7k2p3q4-web/db-0 to node-1", "Successfully assigned web/db-0 to node-1"},
		"DNS name":            {"web", "lookup db.vc-x7k2p3q4-web.svc", "lookup db.web.svc"},
		"another of its own":  {"web", "from vc-x7k2p3q4-shop/db", "from shop/db"},
		"a longer namesake":   {"web", "from vc-x7k2p3q4-web2/db", "from web2/db"},
		"hashed":              {long, "in " + mapping.HostNamespace(tenantID, long) + "/db", "in " + long + "/db"},
		"its control plane":   {"web", "pod vcp-x7k2p3q4/controlplane-0", "pod /controlplane-0"},
		"another tenant":      {"web", "Preempted by vc-abcdefgh-prod/db", "Preempted by (another namespace)/db"},
		"another control":     {"web", "by vcp-abcdefgh/controlplane-0", "by (another namespace)/controlplane-0"},
		"own UID":             {"web", "/pods/11111111-2222-3333-4444-555555555555/volumes", "/pods/aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee/volumes"},
		"a foreign UID":       {"web", "Preempted by pod 99999999-2222-3333-4444-555555555555", "Preempted by pod (hidden)"},
		"volume name":         {"web", "volume pvc-99999999-2222-3333-4444-555555555555", "volume pvc-99999999-2222-3333-4444-555555555555"},
		"hidden node":         {"web", "on node node-9.", "on node (a node)."},
		"longer node":         {"web", "on node node-99, node-9-a", "on node node-99, node-9-a"},
		"hidden node address": {"web", "dial tcp 203.0.113.9:10250: refused; 203.0.113.99 is not; [fd00::9]:80", "dial tcp (a node):10250: refused; 203.0.113.99 is not; [(a node)]:80"},
		"hidden host name":    {"web", "host ip-10-0-0-9.internal is down", "host (a node) is down"},
		"prefix in a prefix":  {"web", "vc-vc-x7k2p3q4-x7k2p3q4-web", "web"},
		"prefix by control":   {"web", "vc-vcp-x7k2p3q4x7k2p3q4-web", "web"},
		"prefix alone":        {"web", "vc-x7k2p3q4-", ""},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			if got := testScrubber(test.namespace).scrub(test.message); got != test.want {
				t.Errorf("scrub(%q) = %q, want %q", test.message, got, test.want)
			}
		})
	}
}

// checkScrubbed is the property that no message may break.
func checkScrubbed(t *testing.T, tenantNamespace, message string) {
	t.Helper()
	got := testScrubber(tenantNamespace).scrub(message)
	if strings.Contains(got, mapping.HostNamespace(tenantID, tenantNamespace)) || strings.Contains(got, "vc-"+tenantID+"-") {
		t.Errorf("scrub(%q) = %q has a host namespace", message, got)
	}
	if strings.Contains(got, "vcp-"+tenantID) {
		t.Errorf("scrub(%q) = %q has the control namespace", message, got)
	}
	if len(got) > maxMessage || !utf8.ValidString(got) {
		t.Errorf("scrub(%q) is %d bytes long, valid %v", message, len(got), utf8.ValidString(got))
	}
}

func TestScrubProperty(t *testing.T) {
	pieces := []string{
		"vc-", "vcp-", tenantID, "-", "web", mapping.HostNamespace(tenantID, "web"), "vc-abcdefgh-web", "vcp-" + tenantID, " ", "/", ".", "pvc-",
		"11111111-2222-3333-4444-555555555555", "node-9", ":", "é", "\xff", mapping.HostNamespace(tenantID, strings.Repeat("b", 61)),
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		var message strings.Builder
		for range random.IntN(14) {
			message.WriteString(pieces[random.IntN(len(pieces))])
		}
		checkScrubbed(t, "web", message.String())
		checkScrubbed(t, strings.Repeat("b", 61), message.String())
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("Successfully assigned vc-x7k2p3q4-web/db-0 to node-9")
	f.Add("vc-vc-x7k2p3q4-x7k2p3q4-web")
	f.Fuzz(func(t *testing.T, message string) { checkScrubbed(t, "web", message) })
}

package event

import (
	"regexp"
	"strings"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// What a tenant reads in the place of a word that is none of its business.
const (
	hiddenNamespace = "(another namespace)"
	hiddenNode      = "(a node)"
	hiddenUID       = "(hidden)"
)

// maxMessage bounds a message, before anything is searched in it. events.k8s.io has the same limit.
const maxMessage = 1024

var (
	// hostNamespaceForm is any namespace of any virtual cluster, as package mapping names them.
	hostNamespaceForm = regexp.MustCompile(`\bvcp?-[a-z2-7]{8}\b[-a-z0-9]*`)
	uidForm           = regexp.MustCompile(`(pvc-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	// wordForm is a name or an IPv4 address, addressForm an IPv6 address.
	wordForm    = regexp.MustCompile(`[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?`)
	addressForm = regexp.MustCompile(`[0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F:.]*`)
)

// scrubber turns the host's words in a message into the tenant's.
type scrubber struct {
	tenantID        string
	hostNamespace   string
	tenantNamespace string
	// uids are the tenant's UIDs by the host's.
	uids map[string]string
	// hiddenWords are names and addresses of nodes that the tenant does not see.
	hiddenWords map[string]bool
}

// scrub returns a message that is fit for the tenant. Its result never contains the name of a host namespace of this or
// any other virtual cluster.
func (s scrubber) scrub(message string) string {
	message = strings.ReplaceAll(cut(message), s.hostNamespace, s.tenantNamespace)
	message = without(message, mapping.HostNamespace(s.tenantID, ""), mapping.ControlNamespace(s.tenantID))
	message = hostNamespaceForm.ReplaceAllLiteralString(message, hiddenNamespace)
	message = uidForm.ReplaceAllStringFunc(message, s.uid)
	if len(s.hiddenWords) > 0 {
		message = addressForm.ReplaceAllStringFunc(message, s.word)
		message = wordForm.ReplaceAllStringFunc(message, s.word)
	}
	return cut(message)
}

func cut(message string) string {
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	return strings.ToValidUTF8(message, "")
}

// without removes every occurrence of the words, also one that only comes to be by the removal of another: the tenant
// writes parts of these messages itself, for example by what its probes answer. Each round makes the text shorter.
func without(text string, words ...string) string {
	for {
		before := len(text)
		for _, word := range words {
			text = strings.ReplaceAll(text, word, "")
		}
		if len(text) == before {
			return text
		}
	}
}

// uid translates the UID of a host object. The name of a provisioned volume contains one and is the same on both sides.
func (s scrubber) uid(text string) string {
	if strings.HasPrefix(text, "pvc-") {
		return text
	}
	if uid, ok := s.uids[text]; ok {
		return uid
	}
	return hiddenUID
}

func (s scrubber) word(text string) string {
	if s.hiddenWords[text] {
		return hiddenNode
	}
	return text
}

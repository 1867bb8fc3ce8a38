package zone

import (
	"context"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/nonwriter"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// maxAliases bounds a chain of external names that point at each other.
const maxAliases = 8

// follow adds the records of an external name's target, since the resolvers in pods do not ask twice.
func (z *Zone) follow(ctx context.Context, state request.Request, id, target string, message *dns.Msg) {
	seen := map[string]bool{state.Name(): true}
	for range maxAliases {
		if seen[target] {
			message.Rcode = dns.RcodeServerFailure
			return
		}
		seen[target] = true
		if !dns.IsSubDomain(z.Domain, target) {
			z.followOutside(ctx, state, id, target, message)
			return
		}
		found := z.lookup(id, target, target, state.QType())
		message.Answer = append(message.Answer, found.answer...)
		if found.alias == "" {
			if !found.exists {
				message.Rcode = dns.RcodeNameError
			}
			return
		}
		target = found.alias
	}
	message.Rcode = dns.RcodeServerFailure
}

func (z *Zone) followOutside(ctx context.Context, state request.Request, id, target string, message *dns.Msg) {
	question := state.Req.Copy()
	question.Question[0].Name = target
	answered := nonwriter.New(state.W)
	code, err := z.forward(ctx, answered, question, id)
	if err != nil || !plugin.ClientWrite(code) || answered.Msg == nil {
		// The alias itself is known; without its target the answer would look complete and be wrong.
		message.Rcode = dns.RcodeServerFailure
		return
	}
	message.Authoritative = false
	message.Answer = append(message.Answer, answered.Msg.Answer...)
}

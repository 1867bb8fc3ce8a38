package zone

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/dns/hostview"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

const (
	idA, idB = "aaaaaaaa", "bbbbbbbb"
	podA     = "10.0.0.10" // default/client of A
	podB     = "10.0.1.10" // default/client of B
	controlA = "10.0.0.99"
	stranger = "10.0.9.9"
)

func meta(id, namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: mapping.HostNamespace(id, namespace), Name: name,
		Labels: map[string]string{mapping.LabelID: id, mapping.LabelTenantNamespace: namespace},
	}
}

func clusterIP(id, namespace, name string, ips ...string) *corev1.Service {
	return &corev1.Service{ObjectMeta: meta(id, namespace, name), Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: ips[0], ClusterIPs: ips,
		Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}, {Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53}},
	}}
}

func externalName(id, name, target string) *corev1.Service {
	return &corev1.Service{ObjectMeta: meta(id, "default", name), Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeExternalName, ExternalName: target,
	}}
}

func controlPlane(id, ip string) *corev1.Service {
	s := clusterIP(id, "default", "kubernetes", ip)
	s.Namespace = mapping.ControlNamespace(id)
	s.Spec.Ports = []corev1.ServicePort{{Port: 443}}
	delete(s.Labels, mapping.LabelTenantNamespace)
	return s
}

func pod(id, namespace, name, ip string, change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: meta(id, namespace, name), Status: corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
	}}
	if change != nil {
		change(p)
	}
	return p
}

func named(hostname, subdomain string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Hostname = hostname
		p.Annotations = map[string]string{mapping.AnnotationSubdomain: subdomain}
	}
}

func endpointSlice(id, namespace, service string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: meta(id, namespace, service+"-x1"), Endpoints: endpoints}
	s.Labels[discoveryv1.LabelServiceName] = service
	s.Ports = []discoveryv1.EndpointPort{{Name: new("peer"), Protocol: new(corev1.ProtocolTCP), Port: new(int32(7000))}}
	return s
}

func endpoint(ip, podName string, ready bool) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
	if podName != "" {
		e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: podName}
	}
	return e
}

func newView(t testing.TB) *hostview.View {
	t.Helper()
	reserved := clusterIP(idA, "default", "reserved", "10.96.0.77")
	reserved.Annotations = map[string]string{mapping.AnnotationReservedUntil: "2030-01-01T00:00:00Z"}
	stray := clusterIP(idB, "default", "stray", "10.96.0.78")
	stray.Namespace = mapping.HostNamespace(idA, "default")
	headless := clusterIP(idA, "default", "db", "None")
	headless.Spec.Ports = []corev1.ServicePort{{Name: "peer", Protocol: corev1.ProtocolTCP, Port: 7000}}
	control := pod(idA, "", "controlplane-0", controlA, nil)
	control.Namespace = mapping.ControlNamespace(idA)
	delete(control.Labels, mapping.LabelTenantNamespace)
	forged := pod(idA, "default", "forged", "10.0.0.50", nil)
	forged.Namespace = "team-x"
	forgedControl := pod(idA, "", "forged-control", "10.0.0.51", nil)
	forgedControl.Namespace = "team-x"
	delete(forgedControl.Labels, mapping.LabelTenantNamespace)
	view, err := hostview.NewFixed(
		[]*corev1.Service{
			controlPlane(idA, "10.96.0.10"), controlPlane(idB, "10.96.0.20"),
			clusterIP(idA, "default", "web", "10.96.0.11", "fd00::11"), clusterIP(idB, "default", "web", "10.96.0.21"),
			clusterIP(idB, "secret", "vault", "10.96.0.22"),
			externalName(idA, "outside", "Example.org"), externalName(idA, "inside", "web.default.svc.cluster.local"),
			externalName(idA, "steal", "vault.secret.svc.cluster.local."),
			externalName(idA, "loop", "pool.default.svc.cluster.local"), externalName(idA, "pool", "loop.default.svc.cluster.local"),
			headless, clusterIP(idA, "default", "empty", "None"), reserved, stray,
		},
		[]*discoveryv1.EndpointSlice{
			endpointSlice(idA, "default", "db", endpoint("10.0.0.20", "db-0", true), endpoint("10.0.0.21", "db-1", false), endpoint("10.0.0.22", "", true)),
			endpointSlice(idA, "default", "empty"),
		},
		[]*corev1.Pod{
			pod(idA, "default", "client", podA, nil), pod(idB, "default", "client", podB, nil), control,
			pod(idA, "default", "db-0", "10.0.0.20", named("db-0", "db")),
			pod(idA, "default", "db-1", "10.0.0.21", named("db-1", "db")),
			pod(idA, "other", "lonely", "10.0.0.30", named("lonely", "sub")),
			pod(idA, "default", "done", "10.0.0.31", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
			pod(idA, "default", "node-net", "192.0.2.1", func(p *corev1.Pod) { p.Spec.HostNetwork = true }),
			pod(idA, "default", "old", "10.0.0.40", nil), pod(idB, "default", "new", "10.0.0.40", nil),
			forged, forgedControl,
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	return view
}

// upstream stands for the resolvers of the outside world and remembers what it was asked.
type upstream struct{ asked []string }

func (u *upstream) handler() plugin.Handler {
	return plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		u.asked = append(u.asked, r.Question[0].Name)
		m := new(dns.Msg)
		m.SetReply(r)
		m.Answer = []dns.RR{test.A(r.Question[0].Name + " 60 IN A 192.0.2.7")}
		return dns.RcodeSuccess, w.WriteMsg(m)
	})
}

func ask(t testing.TB, view *hostview.View, source, name string, qtype uint16) (*dns.Msg, int, []string) {
	t.Helper()
	outside := &upstream{}
	z := New("cluster.local", view, outside.handler())
	z.sourceTimeout = time.Millisecond
	question := new(dns.Msg)
	question.SetQuestion(name, qtype)
	recorder := dnstest.NewRecorder(&test.ResponseWriter{RemoteIP: source})
	code, err := z.ServeDNS(t.Context(), recorder, question)
	if err != nil {
		t.Fatal(err)
	}
	return recorder.Msg, code, outside.asked
}

func texts(records []dns.RR) []string {
	var list []string
	for _, record := range records {
		list = append(list, strings.Join(strings.Fields(record.String()), " "))
	}
	slices.Sort(list)
	return list
}

func TestNames(t *testing.T) {
	type want = []string
	cases := map[string]struct {
		name    string
		qtype   uint16
		want    want
		extra   want
		missing bool // NXDOMAIN
	}{
		"service":                         {name: "web.default.svc.cluster.local.", qtype: dns.TypeA, want: want{"web.default.svc.cluster.local. 5 IN A 10.96.0.11"}},
		"service, case":                   {name: "WEB.default.svc.Cluster.local.", qtype: dns.TypeA, want: want{"WEB.default.svc.Cluster.local. 5 IN A 10.96.0.11"}},
		"service, IPv6":                   {name: "web.default.svc.cluster.local.", qtype: dns.TypeAAAA, want: want{"web.default.svc.cluster.local. 5 IN AAAA fd00::11"}},
		"service, no such type":           {name: "web.default.svc.cluster.local.", qtype: dns.TypeMX},
		"service, unknown":                {name: "nope.default.svc.cluster.local.", qtype: dns.TypeA, missing: true},
		"service, unknown namespace":      {name: "web.nope.svc.cluster.local.", qtype: dns.TypeA, missing: true},
		"service, only reserved":          {name: "reserved.default.svc.cluster.local.", qtype: dns.TypeA, missing: true},
		"service of B in A's namespace":   {name: "stray.default.svc.cluster.local.", qtype: dns.TypeA, missing: true},
		"service of B only":               {name: "vault.secret.svc.cluster.local.", qtype: dns.TypeA, missing: true},
		"namespace of B only":             {name: "secret.svc.cluster.local.", qtype: dns.TypeA, missing: true},
		"namespace that is a path":        {name: "web.x/y.svc.cluster.local.", qtype: dns.TypeA, missing: true},
		"namespace":                       {name: "default.svc.cluster.local.", qtype: dns.TypeA},
		"control plane":                   {name: "kubernetes.default.svc.cluster.local.", qtype: dns.TypeA, want: want{"kubernetes.default.svc.cluster.local. 5 IN A 10.96.0.10"}},
		"control plane, port":             {name: "_https._tcp.kubernetes.default.svc.cluster.local.", qtype: dns.TypeSRV, want: want{"_https._tcp.kubernetes.default.svc.cluster.local. 5 IN SRV 0 100 443 kubernetes.default.svc.cluster.local."}, extra: want{"kubernetes.default.svc.cluster.local. 5 IN A 10.96.0.10"}},
		"port":                            {name: "_http._tcp.web.default.svc.cluster.local.", qtype: dns.TypeSRV, want: want{"_http._tcp.web.default.svc.cluster.local. 5 IN SRV 0 100 80 web.default.svc.cluster.local."}, extra: want{"web.default.svc.cluster.local. 5 IN A 10.96.0.11", "web.default.svc.cluster.local. 5 IN AAAA fd00::11"}},
		"port, wrong protocol":            {name: "_http._udp.web.default.svc.cluster.local.", qtype: dns.TypeSRV, missing: true},
		"port, other type":                {name: "_http._tcp.web.default.svc.cluster.local.", qtype: dns.TypeA},
		"port, empty":                     {name: "_._tcp.web.default.svc.cluster.local.", qtype: dns.TypeSRV, missing: true},
		"protocol":                        {name: "_tcp.web.default.svc.cluster.local.", qtype: dns.TypeSRV},
		"all ports":                       {name: "web.default.svc.cluster.local.", qtype: dns.TypeSRV, want: want{"web.default.svc.cluster.local. 5 IN SRV 0 100 53 web.default.svc.cluster.local.", "web.default.svc.cluster.local. 5 IN SRV 0 100 80 web.default.svc.cluster.local."}, extra: want{"web.default.svc.cluster.local. 5 IN A 10.96.0.11", "web.default.svc.cluster.local. 5 IN AAAA fd00::11"}},
		"headless, ready ones":            {name: "db.default.svc.cluster.local.", qtype: dns.TypeA, want: want{"db.default.svc.cluster.local. 5 IN A 10.0.0.20", "db.default.svc.cluster.local. 5 IN A 10.0.0.22"}},
		"headless, other family":          {name: "db.default.svc.cluster.local.", qtype: dns.TypeAAAA},
		"headless, nothing ready":         {name: "empty.default.svc.cluster.local.", qtype: dns.TypeA, missing: true},
		"headless, port":                  {name: "_peer._tcp.db.default.svc.cluster.local.", qtype: dns.TypeSRV, want: want{"_peer._tcp.db.default.svc.cluster.local. 5 IN SRV 0 100 7000 10-0-0-22.db.default.svc.cluster.local.", "_peer._tcp.db.default.svc.cluster.local. 5 IN SRV 0 100 7000 db-0.db.default.svc.cluster.local."}, extra: want{"10-0-0-22.db.default.svc.cluster.local. 5 IN A 10.0.0.22", "db-0.db.default.svc.cluster.local. 5 IN A 10.0.0.20"}},
		"endpoint without hostname":       {name: "10-0-0-22.db.default.svc.cluster.local.", qtype: dns.TypeA, want: want{"10-0-0-22.db.default.svc.cluster.local. 5 IN A 10.0.0.22"}},
		"endpoint with hostname":          {name: "db-0.db.default.svc.cluster.local.", qtype: dns.TypeA, want: want{"db-0.db.default.svc.cluster.local. 5 IN A 10.0.0.20"}},
		"hostname of an unready pod":      {name: "db-1.db.default.svc.cluster.local.", qtype: dns.TypeA, want: want{"db-1.db.default.svc.cluster.local. 5 IN A 10.0.0.21"}},
		"hostname without a service":      {name: "lonely.sub.other.svc.cluster.local.", qtype: dns.TypeA, want: want{"lonely.sub.other.svc.cluster.local. 5 IN A 10.0.0.30"}},
		"subdomain without a service":     {name: "sub.other.svc.cluster.local.", qtype: dns.TypeA},
		"hostname, unknown":               {name: "db-9.db.default.svc.cluster.local.", qtype: dns.TypeA, missing: true},
		"pod":                             {name: "10-0-0-30.other.pod.cluster.local.", qtype: dns.TypeA, want: want{"10-0-0-30.other.pod.cluster.local. 5 IN A 10.0.0.30"}},
		"pod, other namespace":            {name: "10-0-0-30.default.pod.cluster.local.", qtype: dns.TypeA, missing: true},
		"pod of B":                        {name: "10-0-1-10.default.pod.cluster.local.", qtype: dns.TypeA, missing: true},
		"pod that does not exist":         {name: "8-8-8-8.default.pod.cluster.local.", qtype: dns.TypeA, missing: true},
		"external name":                   {name: "outside.default.svc.cluster.local.", qtype: dns.TypeA, want: want{"example.org. 60 IN A 192.0.2.7", "outside.default.svc.cluster.local. 5 IN CNAME example.org."}},
		"external name, alias only":       {name: "outside.default.svc.cluster.local.", qtype: dns.TypeCNAME, want: want{"outside.default.svc.cluster.local. 5 IN CNAME example.org."}},
		"external name inside":            {name: "inside.default.svc.cluster.local.", qtype: dns.TypeA, want: want{"inside.default.svc.cluster.local. 5 IN CNAME web.default.svc.cluster.local.", "web.default.svc.cluster.local. 5 IN A 10.96.0.11"}},
		"external name of B's service":    {name: "steal.default.svc.cluster.local.", qtype: dns.TypeA, want: want{"steal.default.svc.cluster.local. 5 IN CNAME vault.secret.svc.cluster.local."}, missing: true},
		"version":                         {name: "dns-version.cluster.local.", qtype: dns.TypeTXT, want: want{`dns-version.cluster.local. 5 IN TXT "1.1.0"`}},
		"apex":                            {name: "cluster.local.", qtype: dns.TypeA},
		"top":                             {name: "svc.cluster.local.", qtype: dns.TypeA},
		"neither service nor pod":         {name: "web.default.cluster.local.", qtype: dns.TypeA, missing: true},
		"too deep":                        {name: "a.b.c.d.default.svc.cluster.local.", qtype: dns.TypeA, missing: true},
		"search path twice":               {name: "web.default.svc.cluster.local.default.svc.cluster.local.", qtype: dns.TypeA, missing: true},
		"reverse, service":                {name: "11.0.96.10.in-addr.arpa.", qtype: dns.TypePTR, want: want{"11.0.96.10.in-addr.arpa. 5 IN PTR web.default.svc.cluster.local."}},
		"reverse, control plane":          {name: "10.0.96.10.in-addr.arpa.", qtype: dns.TypePTR, want: want{"10.0.96.10.in-addr.arpa. 5 IN PTR kubernetes.default.svc.cluster.local."}},
		"reverse, pod with a hostname":    {name: "20.0.0.10.in-addr.arpa.", qtype: dns.TypePTR, want: want{"20.0.0.10.in-addr.arpa. 5 IN PTR db-0.db.default.svc.cluster.local."}},
		"reverse, pod without a hostname": {name: "10.0.0.10.in-addr.arpa.", qtype: dns.TypePTR, want: want{"10.0.0.10.in-addr.arpa. 5 IN PTR 10-0-0-10.default.pod.cluster.local."}},
		"reverse, service of B":           {name: "21.0.96.10.in-addr.arpa.", qtype: dns.TypePTR, missing: true},
		"reverse, pod of B":               {name: "10.1.0.10.in-addr.arpa.", qtype: dns.TypePTR, missing: true},
	}
	view := newView(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			message, code, _ := ask(t, view, podA, tc.name, tc.qtype)
			if code != dns.RcodeSuccess || message == nil {
				t.Fatalf("code %d, message %v", code, message)
			}
			if missing := message.Rcode == dns.RcodeNameError; missing != tc.missing {
				t.Errorf("got rcode %s", dns.RcodeToString[message.Rcode])
			}
			if diff := cmp.Diff(tc.want, texts(message.Answer)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.extra, texts(message.Extra)); diff != "" {
				t.Errorf("extra (-want +got):\n%s", diff)
			}
			if len(tc.want) == 0 {
				if soa, ok := message.Ns[0].(*dns.SOA); !ok || soa.Minttl != ttl || soa.Hdr.Ttl != ttl {
					t.Errorf("negative answer without its time: %v", message.Ns)
				}
			}
		})
	}
}

func TestAliasLoopEnds(t *testing.T) {
	message, _, asked := ask(t, newView(t), podA, "loop.default.svc.cluster.local.", dns.TypeA)
	if message.Rcode != dns.RcodeServerFailure || len(asked) != 0 {
		t.Errorf("got %v, asked %v", message, asked)
	}
}

func TestEachTenantHasItsOwnNames(t *testing.T) {
	view := newView(t)
	for source, want := range map[string]string{podA: "10.96.0.11", podB: "10.96.0.21", controlA: "10.96.0.11"} {
		message, _, _ := ask(t, view, source, "web.default.svc.cluster.local.", dns.TypeA)
		if message == nil || len(message.Answer) != 1 || !strings.HasSuffix(message.Answer[0].String(), want) {
			t.Errorf("%s got %v, want %s", source, message, want)
		}
	}
}

func TestUnknownSourcesLearnNothing(t *testing.T) {
	view := newView(t)
	sources := map[string]string{
		"no pod": stranger, "an ended pod": "10.0.0.31", "the node's network": "192.0.2.1", "claimed by two tenants": "10.0.0.40",
		"labelled by somebody of the host": "10.0.0.50", "labelled as a control plane": "10.0.0.51",
	}
	for reason, source := range sources {
		for _, name := range []string{"web.default.svc.cluster.local.", "11.0.96.10.in-addr.arpa.", "example.org."} {
			message, code, asked := ask(t, view, source, name, dns.TypeA)
			if code != dns.RcodeRefused || message != nil || len(asked) != 0 {
				t.Errorf("%s asked for %s: code %d, %v, upstream %v", reason, name, code, message, asked)
			}
		}
	}
}

func TestForward(t *testing.T) {
	view := newView(t)
	for name, want := range map[string][]string{
		"example.org.":                       {"example.org."},
		"xcluster.local.":                    {"xcluster.local."},
		"9.9.9.9.in-addr.arpa.":              {"9.9.9.9.in-addr.arpa."},
		"nope.default.svc.cluster.local.":    nil,
		"cluster.local.":                     nil,
		"21.0.96.10.in-addr.arpa.":           nil,
		"outside.default.svc.cluster.local.": {"example.org."},
	} {
		_, _, asked := ask(t, view, podA, name, dns.TypeA)
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, code, asked := ask(t, view, podA, "example.org.", dns.TypeAXFR); code != dns.RcodeRefused || len(asked) != 0 {
		t.Errorf("a zone transfer got %d, upstream %v", code, asked)
	}
}

func TestLimits(t *testing.T) {
	l := newLimits()
	allowed := 0
	for range 2 * tenantBurst {
		if l.allow(idA) {
			allowed++
		}
	}
	if allowed >= 2*tenantBurst || allowed < tenantBurst {
		t.Errorf("%d of %d questions were allowed", allowed, 2*tenantBurst)
	}
	if !l.allow(idB) {
		t.Error("one tenant's flood silences another")
	}
	for range tenantForwards {
		if _, ok := l.startForward(idA); !ok {
			t.Fatal("refused below the limit")
		}
	}
	if _, ok := l.startForward(idA); ok {
		t.Error("no limit on waiting questions")
	}
	release, ok := l.startForward(idB)
	if !ok {
		t.Fatal("one tenant's waiting questions hold up another's")
	}
	release()
}

func TestDashed(t *testing.T) {
	for _, text := range []string{"1.2.3.4", "fd00::1", "2001:db8::"} {
		address := netip.MustParseAddr(text)
		if got, ok := parseDashed(dashed(address)); !ok || got != address {
			t.Errorf("%s became %s and then %s", text, dashed(address), got)
		}
	}
	for _, label := range []string{"", "1-2-3", "1-2-3-256", "a-b-c-d-", "x", "1.2.3.4"} {
		if got, ok := parseDashed(label); ok && !got.Is6() {
			t.Errorf("%q is %s", label, got)
		}
	}
}

// FuzzLookup checks that no name makes the lookup crash, forward a name of the domain, or tell A of B's addresses.
func FuzzLookup(f *testing.F) {
	for _, name := range []string{"web.default.svc", "_http._tcp.web.default.svc", "10-0-1-10.default.pod", "..svc", `a\.b.default.svc`, "vault.secret.svc", "-.-.svc"} {
		f.Add(name, dns.TypeA)
		f.Add(name, dns.TypeSRV)
	}
	view := newView(f)
	f.Fuzz(func(t *testing.T, name string, qtype uint16) {
		name = dns.Fqdn(strings.Trim(name, ".") + ".cluster.local")
		if _, ok := dns.IsDomainName(name); !ok {
			return
		}
		message, _, asked := ask(t, view, podA, name, qtype)
		for _, forwarded := range asked {
			if dns.IsSubDomain("cluster.local.", strings.ToLower(forwarded)) {
				t.Fatalf("%q was forwarded as %q", name, forwarded)
			}
		}
		if message == nil {
			return
		}
		for _, record := range append(message.Answer, message.Extra...) {
			for _, foreign := range []string{"10.0.1.10", "10.96.0.20", "10.96.0.21", "10.96.0.22", "10.96.0.78"} {
				if strings.HasSuffix(record.String(), "\t"+foreign) {
					t.Fatalf("%q told A of %s", name, foreign)
				}
			}
		}
	})
}

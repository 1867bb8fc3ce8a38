package ingress

import (
	"regexp"
	"slices"
	"strings"
)

// Forms of values that say one thing only. They are written into the controllers' configuration, so that anything that could
// end a statement or name a variable there is kept out.
var (
	aBoolean  = regexp.MustCompile(`^(true|false)$`)
	aSwitch   = regexp.MustCompile(`^(on|off)$`)
	aNumber   = regexp.MustCompile(`^[0-9]{1,6}$`)
	aSize     = regexp.MustCompile(`^[0-9]{1,6}[kKmMgG]?$`)
	aWord     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	aPath     = regexp.MustCompile(`^/[A-Za-z0-9/._~-]*$`)
	ranges    = regexp.MustCompile(`^[0-9a-fA-F.:/]+(, ?[0-9a-fA-F.:/]+)*$`)
	origins   = regexp.MustCompile(`^[A-Za-z0-9*.:/-]+(, ?[A-Za-z0-9*.:/-]+)*$`)
	words     = regexp.MustCompile(`^[A-Za-z0-9*_-]+(, ?[A-Za-z0-9*_-]+)*$`)
	protocols = regexp.MustCompile(`^(HTTP|HTTPS|GRPC|GRPCS)$`)
)

// maxValue bounds the length of a value of any form.
const maxValue = 1024

const (
	nginx   = "nginx.ingress.kubernetes.io/"
	traefik = "traefik.ingress.kubernetes.io/"
)

// allowed are the annotations that go down, with the form of their values. What is not here stays in the tenant: snippets of
// configuration, URLs and Services that the controller itself would call, Secrets and middlewares of other namespaces,
// groups that join load balancers, other classes, names and certificates that further controllers would make, and patterns: a
// tenant could choose one that takes the controller a second for each request.
var allowed = map[string]*regexp.Regexp{
	nginx + "affinity":                regexp.MustCompile(`^cookie$`),
	nginx + "affinity-mode":           regexp.MustCompile(`^(balanced|persistent)$`),
	nginx + "app-root":                aPath,
	nginx + "backend-protocol":        protocols,
	nginx + "canary":                  aBoolean,
	nginx + "canary-weight":           aNumber,
	nginx + "cors-allow-credentials":  aBoolean,
	nginx + "cors-allow-headers":      words,
	nginx + "cors-allow-methods":      words,
	nginx + "cors-allow-origin":       origins,
	nginx + "cors-max-age":            aNumber,
	nginx + "denylist-source-range":   ranges,
	nginx + "enable-cors":             aBoolean,
	nginx + "force-ssl-redirect":      aBoolean,
	nginx + "limit-connections":       aNumber,
	nginx + "limit-rpm":               aNumber,
	nginx + "limit-rps":               aNumber,
	nginx + "proxy-body-size":         aSize,
	nginx + "proxy-buffering":         aSwitch,
	nginx + "proxy-connect-timeout":   aNumber,
	nginx + "proxy-read-timeout":      aNumber,
	nginx + "proxy-request-buffering": aSwitch,
	nginx + "proxy-send-timeout":      aNumber,
	nginx + "rewrite-target":          aPath,
	nginx + "session-cookie-max-age":  aNumber,
	nginx + "session-cookie-name":     aWord,
	nginx + "session-cookie-samesite": regexp.MustCompile(`^(None|Lax|Strict)$`),
	nginx + "ssl-redirect":            aBoolean,
	nginx + "whitelist-source-range":  ranges,
	traefik + "router.tls":            aBoolean,
}

// ofTools are the domains of annotations that tools leave for themselves: that they stay behind is nothing to tell.
var ofTools = []string{"kubectl.kubernetes.io/", "meta.helm.sh/", "argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"}

// annotations are those that go down, and the keys of those that do not and should be told. extra are further keys that
// whoever runs the host allows, with any value.
func annotations(virtual map[string]string, extra []string) (host map[string]string, refused []string) {
	host = map[string]string{}
	for key, value := range virtual {
		form, isKnown := allowed[key]
		switch {
		case slices.Contains(extra, key), isKnown && len(value) <= maxValue && form.MatchString(value):
			host[key] = value
		case slices.ContainsFunc(ofTools, func(domain string) bool { return strings.HasPrefix(key, domain) }):
		case strings.Contains(key, "/"):
			refused = append(refused, key)
		}
	}
	slices.Sort(refused)
	return host, refused
}

// aSafePath is a path that means a path and nothing else in the configuration of a controller. Where a controller takes paths
// for patterns, it is one that is matched at once.
var aSafePath = regexp.MustCompile(`^(/[A-Za-z0-9/._~!&,=:@%-]*\*?)?$`)

// IsSafePath tells whether a path means a path and nothing else in the configuration of a controller.
func IsSafePath(path string) bool { return aSafePath.MatchString(path) }

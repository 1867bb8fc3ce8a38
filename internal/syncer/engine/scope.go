package engine

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostusage"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// Scope is one tenant as a Kind sees it during one Reconcile. Kinds must not keep it.
//
// The caches answer at once and may be behind; they hold only the types that some Trigger names. The clients ask the
// API server, with a deadline on every call. Objects read from a cache are copies and may be changed.
type Scope struct {
	Tenant tenants.Tenant

	VirtualCache  client.Reader
	VirtualClient client.Client
	HostCache     client.Reader
	// HostClient refuses unknown fields. Writes of copies go through CreateHost, UpdateHost and DeleteHost, which keep
	// the rules of ownership.
	HostClient client.Client

	namespaces NamespaceEnsurer
	hostSpaces hostNamespaces
	usage      *hostusage.Usage
	events     record.EventRecorder
	enqueue    func(kind string, key Key)
	run        *tenantRun
}

// NamespaceEnsurer makes mapped namespaces; *namespaces.Ensurer is the one.
type NamespaceEnsurer interface {
	// Ensure makes the mapped namespace complete and returns its name.
	Ensure(ctx context.Context, tenant tenants.Tenant, tenantNamespace string) (string, error)
	// Forget drops what is remembered of a host namespace, so that the next Ensure looks again.
	Forget(hostNamespace string)
	// ForgetTenant does so for all host namespaces of a tenant.
	ForgetTenant(tenant types.UID)
}

// hostNamespaces tells which tenant namespace a host namespace stands for.
type hostNamespaces interface {
	lookup(hostNamespace string) (mappedNamespace, bool)
}

// HostNamespace is the mapped namespace of a tenant namespace.
func (s *Scope) HostNamespace(tenantNamespace string) string {
	return mapping.HostNamespace(s.Tenant.ID, tenantNamespace)
}

// TenantNamespace is the tenant's name of a mapped namespace of this tenant; ok is false for every other namespace.
func (s *Scope) TenantNamespace(hostNamespace string) (tenantNamespace string, ok bool) {
	mapped, ok := s.hostSpaces.lookup(hostNamespace)
	if !ok || mapped.tenantID != s.Tenant.ID {
		return "", false
	}
	return mapped.tenantNamespace, true
}

// HostName is the name that the copy of a tenant's object has on the host.
func (s *Scope) HostName(virtualObject client.Object) string {
	return mapping.HostName(kindOf(virtualObject), virtualObject.GetName())
}

// HostKey is where the copy of a tenant's object is found on the host. The object is only read for its type.
func (s *Scope) HostKey(virtualObject client.Object, key Key) client.ObjectKey {
	return client.ObjectKey{
		Namespace: s.HostNamespace(key.Namespace),
		Name:      mapping.HostName(kindOf(virtualObject), key.Name),
	}
}

// TenantKey is the key of the tenant object that a host copy belongs to, from its labels and annotations. ok is false
// for what belongs to another tenant, to the control plane, or carries labels that do not fit its namespace.
func (s *Scope) TenantKey(hostObject client.Object) (key Key, ok bool) {
	labels := hostObject.GetLabels()
	if labels[mapping.LabelUID] != string(s.Tenant.UID) {
		return Key{}, false
	}
	tenantNamespace := labels[mapping.LabelTenantNamespace]
	if namespace := hostObject.GetNamespace(); namespace != "" && (tenantNamespace == "" || namespace != s.HostNamespace(tenantNamespace)) {
		return Key{}, false
	}
	name := hostObject.GetAnnotations()[mapping.AnnotationTenantName]
	if name == "" {
		name = hostObject.GetName()
	}
	return Key{Namespace: tenantNamespace, Name: name}, true
}

// Owns tells whether a host object was made for this tenant.
func (s *Scope) Owns(hostObject client.Object) bool {
	return hostObject.GetLabels()[mapping.LabelUID] == string(s.Tenant.UID)
}

// IsCopy tells whether a host object is the copy of exactly this tenant object, not of a namesake or a predecessor.
func (s *Scope) IsCopy(hostObject, virtualObject client.Object) bool {
	return s.Owns(hostObject) && hostObject.GetAnnotations()[mapping.AnnotationTenantUID] == string(virtualObject.GetUID())
}

// EnsureNamespace makes the mapped namespace of a tenant namespace complete and returns its name. CreateHost calls it.
func (s *Scope) EnsureNamespace(ctx context.Context, tenantNamespace string) (string, error) {
	name, err := s.namespaces.Ensure(ctx, s.Tenant, tenantNamespace)
	return name, refuseExceeded(err)
}

// Event tells the tenant something about its object. The message is redacted.
func (s *Scope) Event(virtualObject client.Object, eventType, reason, message string) {
	s.events.Event(virtualObject, eventType, reason, s.Redact(message))
}

// Redact replaces the host's names of this tenant's namespaces by the tenant's own in text for the tenant. It goes over
// the text once: parts of it may be the tenant's own words, which must not be able to make it go on for ever.
func (s *Scope) Redact(text string) string {
	prefix := mapping.HostNamespace(s.Tenant.ID, "")
	var redacted strings.Builder
	for {
		before, rest, found := strings.Cut(text, prefix)
		redacted.WriteString(before)
		if !found {
			return redacted.String()
		}
		end := len(rest) - len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz0123456789-"))
		name := strings.TrimRight(rest[:end], "-")
		tenantNamespace, ok := s.TenantNamespace(prefix + name)
		if !ok {
			tenantNamespace = name
		}
		redacted.WriteString(tenantNamespace)
		text = rest[len(name):]
	}
}

// Enqueue wakes another kind for this tenant.
func (s *Scope) Enqueue(kind string, key Key) { s.enqueue(kind, key) }

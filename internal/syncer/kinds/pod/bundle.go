package pod

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// bundles are the pods' own host Secrets. Each belongs to its host pod, with which the host collects it. They are not
// watched; what is remembered of them can be read again.
type bundles struct {
	now func() time.Time

	mu       sync.Mutex
	byTenant map[types.UID]map[engine.Key]bundleState // protected by mu
}

// bundleState is what is known of one bundle on the host.
type bundleState struct {
	podUID types.UID
	// refreshAt is when half of the life of the shortest token is over; zero if there are no tokens. The kubelet reads a
	// Secret again only every minute or so, which half of the shortest life allowed, five minutes, leaves time for.
	refreshAt time.Time
	// tokenKeyID is the tenant's when refreshAt was found out.
	tokenKeyID string
	// content is a digest of all that is not a token.
	content [sha256.Size]byte
}

func newBundles(now func() time.Time) *bundles {
	return &bundles{now: now, byTenant: map[types.UID]map[engine.Key]bundleState{}}
}

// leastRefresh is the shortest time between two tokens of a pod: half of the shortest life that an API server gives. One that a
// tenant has tampered with may give less, and one whose clock is wrong gives what never seems good; each token is a write on the
// host.
const leastRefresh = 5 * time.Minute

// minted is the content of a bundle.
type minted struct {
	data      map[string][]byte
	refreshAt time.Time
	err       error
}

// ensure makes the host's bundle of a pod right and returns when it must be looked at again; 0 means never.
func (b *bundles) ensure(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod, wanted bundle) (time.Duration, error) {
	if wanted.empty() {
		return 0, nil
	}
	state, ok := b.get(scope.Tenant.UID, virtualPod)
	if !ok {
		state, ok = b.recall(ctx, scope, virtualPod, wanted)
	}
	isCurrent := state.content == digest(scope, virtualPod, wanted) && state.tokenKeyID == scope.Tenant.TokenKeyID
	if ok && isCurrent && !b.due(state) {
		b.put(scope.Tenant.UID, virtualPod, state)
		return b.until(state), nil
	}
	return b.write(ctx, scope, virtualPod, hostPod, wanted, b.mint(ctx, scope, virtualPod, wanted))
}

func (b *bundles) due(state bundleState) bool {
	return !state.refreshAt.IsZero() && !b.now().Before(state.refreshAt)
}

func (b *bundles) until(state bundleState) time.Duration {
	if state.refreshAt.IsZero() {
		return 0
	}
	return max(state.refreshAt.Sub(b.now()), time.Second)
}

// mint makes the content of a bundle, asking the tenant's API server for the tokens.
func (b *bundles) mint(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod, wanted bundle) minted {
	result := minted{data: plainContent(scope, virtualPod, wanted)}
	for _, file := range wanted.tokens {
		issued := b.now()
		token, expires, err := requestToken(ctx, scope, virtualPod, file)
		if err != nil {
			return minted{err: err}
		}
		result.data[file.key] = []byte(token)
		result.refreshAt = earlier(result.refreshAt, nextRefresh(result.data[file.key], scope.Tenant.TokenKeyID, issued, expires))
	}
	return result
}

// nextRefresh is when a token must be replaced that was asked for at a time of our clock and ends at one of the API server's.
func nextRefresh(token []byte, keyID string, issued, expires time.Time) time.Time {
	at, least := halfway(issued, expires), issued.Add(leastRefresh)
	if own, err := refreshTime(token, keyID, issued); err == nil {
		at = earlier(at, own)
	}
	if at.Before(least) {
		return least
	}
	return at
}

// plainContent is what is not a token.
func plainContent(scope *engine.Scope, virtualPod *corev1.Pod, wanted bundle) map[string][]byte {
	data := map[string][]byte{}
	for _, file := range wanted.fields {
		value, _ := fieldValue(virtualPod, file.path)
		data[file.key] = []byte(value)
	}
	if wanted.rootCA {
		data[rootCAKey] = scope.Tenant.RootCA
	}
	return data
}

func digest(scope *engine.Scope, virtualPod *corev1.Pod, wanted bundle) [sha256.Size]byte {
	return digestOf(plainContent(scope, virtualPod, wanted), wanted)
}

func digestOf(data map[string][]byte, wanted bundle) [sha256.Size]byte {
	hash := sha256.New()
	for _, file := range wanted.fields {
		fmt.Fprintf(hash, "%s %d %s\n", file.key, len(data[file.key]), data[file.key])
	}
	if wanted.rootCA {
		fmt.Fprintf(hash, "ca %d %s\n", len(data[rootCAKey]), data[rootCAKey])
	}
	var sum [sha256.Size]byte
	hash.Sum(sum[:0])
	return sum
}

func halfway(from, to time.Time) time.Time { return from.Add(to.Sub(from) / 2) }

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// requestToken asks for a token of the pod's ServiceAccount, bound to the pod.
func requestToken(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod, file tokenFile) (string, time.Time, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &file.seconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: virtualPod.Name, UID: virtualPod.UID},
	}}
	if file.audience != "" {
		request.Spec.Audiences = []string{file.audience}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: virtualPod.Namespace, Name: virtualPod.Spec.ServiceAccountName}}
	err := scope.VirtualClient.SubResource("token").Create(ctx, account, request)
	if apierrors.IsNotFound(err) {
		return "", time.Time{}, engine.Refuse(engine.ReasonWaiting, "service account %q does not exist; create it", account.Name)
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("request a token of service account %q for pod %q: %w", account.Name, engine.KeyOf(virtualPod), err)
	}
	return request.Status.Token, request.Status.ExpirationTimestamp.Time, nil
}

// write stores a bundle on the host.
func (b *bundles) write(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod, wanted bundle, content minted) (time.Duration, error) {
	if content.err != nil {
		return 0, content.err
	}
	desired := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: hostPod.Namespace, Name: bundleName(virtualPod.UID), Labels: scope.OwnerLabels(virtualPod.Namespace),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: hostPod.Name, UID: hostPod.UID}},
		},
		Type: corev1.SecretTypeOpaque, Data: content.data,
	}
	err := scope.HostClient.Create(ctx, desired.DeepCopy())
	if apierrors.IsAlreadyExists(err) {
		err = b.replace(ctx, scope, desired)
	}
	if err != nil {
		return 0, &engine.HostError{Action: fmt.Sprintf("write the token secret of pod %q", engine.KeyOf(virtualPod)), Err: err}
	}
	state := bundleState{
		podUID: virtualPod.UID, refreshAt: content.refreshAt, tokenKeyID: scope.Tenant.TokenKeyID, content: digestOf(content.data, wanted),
	}
	b.put(scope.Tenant.UID, virtualPod, state)
	return b.until(state), nil
}

// replace overwrites an existing bundle of ours.
func (b *bundles) replace(ctx context.Context, scope *engine.Scope, desired *corev1.Secret) error {
	existing := &corev1.Secret{}
	if err := scope.HostClient.Get(ctx, client.ObjectKeyFromObject(desired), existing); err != nil {
		return err
	}
	if !scope.Owns(existing) {
		return errors.New("a secret of this name is not ours")
	}
	existing.Data, existing.OwnerReferences = desired.Data, desired.OwnerReferences
	return scope.HostClient.Update(ctx, existing)
}

// recall reads a bundle that an earlier process wrote.
func (b *bundles) recall(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod, wanted bundle) (bundleState, bool) {
	existing := &corev1.Secret{}
	key := client.ObjectKey{Namespace: scope.HostNamespace(virtualPod.Namespace), Name: bundleName(virtualPod.UID)}
	if err := scope.HostClient.Get(ctx, key, existing); err != nil || !scope.Owns(existing) {
		return bundleState{}, false // it is made anew, or the writing says what is wrong
	}
	state := bundleState{podUID: virtualPod.UID, tokenKeyID: scope.Tenant.TokenKeyID, content: digestOf(existing.Data, wanted)}
	for _, file := range wanted.tokens {
		refreshAt, err := refreshTime(existing.Data[file.key], scope.Tenant.TokenKeyID, b.now())
		if err != nil {
			return bundleState{}, false
		}
		state.refreshAt = earlier(state.refreshAt, refreshAt)
	}
	return state, true
}

func (b *bundles) get(tenant types.UID, virtualPod *corev1.Pod) (bundleState, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	state, ok := b.byTenant[tenant][engine.KeyOf(virtualPod)]
	return state, ok && state.podUID == virtualPod.UID
}

func (b *bundles) put(tenant types.UID, virtualPod *corev1.Pod, state bundleState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byTenant[tenant] == nil {
		b.byTenant[tenant] = map[engine.Key]bundleState{}
	}
	b.byTenant[tenant][engine.KeyOf(virtualPod)] = state
}

// forget drops what is known of a pod's bundle.
func (b *bundles) forget(tenant types.UID, key engine.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byTenant[tenant], key)
}

func (b *bundles) stopped(tenant types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byTenant, tenant)
}

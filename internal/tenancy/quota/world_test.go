package quota

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// world is a host in which everything that can happen happens one step at a time, in an order that chance decides: requests
// are charged and stored, the host counts anew, replicas of the agent see changes late, plan, write, lose answers, crash
// and are thought to be dead while they are not.
type world struct {
	t      *testing.T
	random *rand.Rand
	now    time.Time
	total  int64
	// epoch is AccountQuota.status.epoch.
	epoch      int64
	version    uint64
	namespaces []*site
	agents     []*actor
	// late are writes that are on their way, of whoever sent them; he may be dead meanwhile.
	late []sent
	// greatest is the largest sum of bounds that was there; raised counts the writes that raised something.
	greatest int64
	raised   int
}

// site is a namespace: its ResourceQuota, and what is really there.
type site struct {
	name  string
	quota *corev1.ResourceQuota
	pods  int64
}

// actor is a replica that believes to be the owner.
type actor struct {
	epoch int64
	lots  map[string]*lot
	// behind are changes that its watch has not brought yet.
	behind []*corev1.ResourceQuota
	// fencing are the namespaces that it still has to put its epoch on.
	fencing []string
	// unsure are those that it has put its epoch on after it took over, without having asked for the epoch again.
	unsure map[string]bool
	// latest is the last write that was sent, by namespace.
	latest map[string]*corev1.ResourceQuota
	isOver bool
}

type sent struct {
	by     *actor
	to     string
	change *corev1.ResourceQuota // as it was read, changed
	raises bool
}

const pods = corev1.ResourcePods

func newWorld(t *testing.T, seed uint64, total int64, namespaces int) *world {
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 14)), now: time.Unix(0, 0), total: total}
	for range namespaces {
		w.addNamespace()
	}
	return w
}

func (w *world) addNamespace() {
	name := fmt.Sprintf("ns-%02d", len(w.namespaces))
	w.version++
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "matryoshka-q", ResourceVersion: strconv.FormatUint(w.version, 10)},
		Spec:       corev1.ResourceQuotaSpec{Hard: amounts{pods: 0}.list()},
	}
	w.namespaces = append(w.namespaces, &site{name: name, quota: quota})
	w.tell(quota)
}

// store is the API server: it takes a change if it is one of the newest version, and everybody's watch will bring it.
func (w *world) store(s *site, change *corev1.ResourceQuota) bool {
	if change.ResourceVersion != s.quota.ResourceVersion {
		return false
	}
	w.version++
	change = change.DeepCopy()
	change.ResourceVersion = strconv.FormatUint(w.version, 10)
	s.quota = change
	w.tell(change)
	w.check()
	return true
}

func (w *world) tell(quota *corev1.ResourceQuota) {
	for _, one := range w.agents {
		one.behind = append(one.behind, quota)
	}
}

// check is the invariant.
func (w *world) check() {
	sum := int64(0)
	for _, s := range w.namespaces {
		sum += max(amountsOf(s.quota.Spec.Hard)[pods], amountsOf(s.quota.Status.Hard)[pods])
	}
	w.greatest = max(w.greatest, sum)
	if sum > w.total {
		w.t.Fatalf("the bounds of all namespaces are %d, more than %d:\n%s", sum, w.total, w)
	}
	used := int64(0)
	for _, s := range w.namespaces {
		used += s.pods
	}
	if used > w.total {
		w.t.Fatalf("%d pods, more than %d:\n%s", used, w.total, w)
	}
}

func (w *world) String() string {
	text := fmt.Sprintf("epoch %d\n", w.epoch)
	for _, s := range w.namespaces {
		text += fmt.Sprintf("%s: version %s epoch %d spec %v status %v used %v pods %d\n", s.name, s.quota.ResourceVersion, epochOf(s.quota),
			amountsOf(s.quota.Spec.Hard), amountsOf(s.quota.Status.Hard), amountsOf(s.quota.Status.Used), s.pods)
	}
	return text
}

func (w *world) site(name string) *site {
	for _, s := range w.namespaces {
		if s.name == name {
			return s
		}
	}
	return nil
}

func (w *world) any() *site { return w.namespaces[w.random.IntN(len(w.namespaces))] }

// create is a request: the host's admission charges it against the status, or refuses it.
func (w *world) create(s *site) bool {
	hard, isKnown := s.quota.Status.Hard[pods]
	used := amountsOf(s.quota.Status.Used)[pods]
	if !isKnown || used+1 > hard.Value() {
		return false
	}
	change := s.quota.DeepCopy()
	change.Status.Used = amounts{pods: used + 1}.list()
	s.pods++
	return w.store(s, change)
}

func (w *world) delete(s *site) {
	if s.pods == 0 {
		return
	}
	s.pods--
	w.count(s)
}

// count is the host's controller, which counts anew.
func (w *world) count(s *site) {
	change := s.quota.DeepCopy()
	change.Status = corev1.ResourceQuotaStatus{Hard: change.Spec.Hard.DeepCopy(), Used: amounts{pods: s.pods}.list()}
	w.store(s, change)
}

// wish is what the webhook leaves for the owner.
func (w *world) wish(s *site) {
	change := s.quota.DeepCopy()
	if change.Annotations == nil {
		change.Annotations = map[string]string{}
	}
	used := amountsOf(change.Status.Used)[pods]
	change.Annotations[wishPrefix+"a"] = wish{Hard: amounts{pods: used + 1 + w.random.Int64N(3)}, At: w.now}.text()
	w.store(s, change)
}

// takeOver makes a new owner. Nobody tells the others.
func (w *world) takeOver() {
	w.epoch++
	one := &actor{epoch: w.epoch, lots: map[string]*lot{}, unsure: map[string]bool{}, latest: map[string]*corev1.ResourceQuota{}}
	for _, s := range w.namespaces {
		one.see(s.quota, w.now)
		one.fencing = append(one.fencing, s.name)
	}
	w.agents = append(w.agents, one)
	if len(w.agents) > 3 {
		w.agents = w.agents[1:] // dead at last
	}
}

func (a *actor) see(quota *corev1.ResourceQuota, now time.Time) {
	one, ok := a.lots[quota.Namespace]
	if !ok {
		one = &lot{namespace: quota.Namespace}
		a.lots[quota.Namespace] = one
	}
	one.see(quota, now)
}

// fence puts the epoch of a replica on a ResourceQuota, unless a later one is there.
func (w *world) fence(one *actor, name string) {
	s := w.site(name)
	if epochOf(s.quota) > one.epoch {
		return
	}
	change := s.quota.DeepCopy()
	if change.Annotations == nil {
		change.Annotations = map[string]string{}
	}
	change.Annotations[annotationEpoch] = epochText(one.epoch, strconv.FormatUint(w.version, 10))
	w.store(s, change)
	one.see(s.quota, w.now)
	one.lots[name].tried, one.lots[name].epoch = nil, one.epoch
}

// act is one step of a replica.
func (w *world) act(one *actor) {
	if one.isOver {
		return
	}
	if len(one.behind) > 0 && w.random.IntN(3) > 0 {
		one.see(one.behind[0], w.now)
		one.behind = one.behind[1:]
		return
	}
	if len(one.fencing) > 0 {
		w.fence(one, one.fencing[0])
		one.fencing = one.fencing[1:]
		return
	}
	if w.isFencedAnew(one) {
		return
	}
	lots := make([]*lot, 0, len(one.lots))
	for _, s := range w.namespaces {
		if known, ok := one.lots[s.name]; ok {
			known.expire(w.now)
			lots = append(lots, known)
		}
	}
	for _, next := range plan(amounts{pods: w.total}, lots, one.epoch, w.now) {
		if w.random.IntN(4) == 0 {
			continue // crashed, or had no time
		}
		w.send(one, next)
	}
}

// isFencedAnew brings namespaces in that are new, or that a write with an unknown end was sent to.
func (w *world) isFencedAnew(one *actor) bool {
	for name := range one.unsure {
		delete(one.unsure, name)
		if one.epoch != w.epoch {
			one.isOver = true // it has learned that it is the owner no more
			return true
		}
	}
	for name, known := range one.lots {
		if epochOf(known.quota) < one.epoch || len(known.tried) > 0 {
			one.unsure[name] = true
			w.fence(one, name)
			return true
		}
	}
	return false
}

func (w *world) send(one *actor, next write) {
	change := next.change(w.now)
	w.late = append(w.late, sent{by: one, to: next.lot.namespace, change: change, raises: next.raises})
	next.lot.tried, one.latest[next.lot.namespace] = next.highest(), change
}

// arrive carries out one of the writes that are on their way. Its answer may get lost.
func (w *world) arrive() {
	if len(w.late) == 0 {
		return
	}
	index := w.random.IntN(len(w.late))
	one := w.late[index]
	w.late = append(w.late[:index], w.late[index+1:]...)
	s := w.site(one.to)
	ok := w.store(s, one.change)
	if ok && one.raises {
		w.raised++
	}
	known := one.by.lots[one.to]
	if known == nil || w.random.IntN(10) == 0 {
		return // the answer is lost
	}
	if ok {
		known.see(s.quota, w.now)
	}
	if one.by.latest[one.to] == one.change { // and not one that was made void before
		known.tried = nil
	}
}

func (w *world) step() {
	w.now = w.now.Add(time.Duration(w.random.IntN(100)) * time.Millisecond)
	switch chance := w.random.IntN(100); {
	case chance < 12:
		w.create(w.any())
	case chance < 16:
		w.delete(w.any())
	case chance < 24:
		w.count(w.any())
	case chance < 28:
		w.wish(w.any())
	case chance < 29 && (w.random.IntN(5) == 0 || len(w.agents) == 0):
		w.takeOver()
	case chance < 30 && w.random.IntN(4) == 0 && len(w.namespaces) < 12:
		w.addNamespace()
	case chance < 45:
		w.arrive()
	case len(w.agents) > 0:
		w.act(w.agents[w.random.IntN(len(w.agents))])
	}
}

// TestBoundsStayWithinTheWhole: the sum over all namespaces of the greater of spec.hard and status.hard never exceeds the
// account's bound, whoever dies when.
func TestBoundsStayWithinTheWhole(t *testing.T) {
	raised, full := 0, 0
	for seed := range uint64(200) {
		w := newWorld(t, seed, 1+int64(seed%20), 1+int(seed%4))
		for range 4000 {
			w.step()
		}
		raised += w.raised
		if w.greatest == w.total {
			full++
		}
	}
	if raised < 5_000 || full < 100 {
		t.Errorf("only %d raises in 200 worlds, of which %d gave all out: the test tests nothing", raised, full)
	}
	t.Logf("%d raises, %d of 200 worlds gave all out", raised, full)
}

// TestAccountIsUsable: with one owner and nobody who disturbs, requests anywhere get all there is.
func TestAccountIsUsable(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(t, seed, 20, 6)
		w.takeOver()
		one := w.agents[0]
		target := w.any()
		for range 3000 {
			w.now = w.now.Add(20 * time.Millisecond)
			for len(one.behind) > 0 {
				one.see(one.behind[0], w.now)
				one.behind = one.behind[1:]
			}
			w.act(one)
			for len(w.late) > 0 {
				w.arrive()
			}
			if w.random.IntN(5) == 0 {
				w.count(w.any())
			}
			if !w.create(target) && w.random.IntN(3) == 0 {
				w.wish(target)
			}
		}
		if target.pods != w.total {
			t.Fatalf("seed %d: %d of %d pods:\n%s", seed, target.pods, w.total, w)
		}
	}
}

package engine

import "slices"

// laneNews is for those keys of LaneFirst of which the host has news. In a burst of pods, those that are Ready are told while the next
// ones are made, and not after the last.
const laneNews = LaneLast + 1

// The orders in which lanes are served: news and what is new take turns, and now and then the others go before them.
var (
	laneOrders        = [2][4]Lane{{laneNews, LaneFirst, LaneNormal, LaneLast}, {LaneFirst, laneNews, LaneNormal, LaneLast}}
	laneOrdersOfOther = [3][4]Lane{
		{LaneNormal, LaneLast, LaneFirst, laneNews}, {LaneNormal, LaneLast, LaneFirst, laneNews}, {LaneLast, LaneNormal, LaneFirst, laneNews},
	}
)

// othersEvery is how often the others have their turn.
const othersEvery = 8

// place is the lane of a key.
func (q *queue) place(t *tenantQueue, w work) Lane {
	lane := q.laneOf(w.kind)
	if lane == LaneFirst && !t.causes[w].host.IsZero() {
		return laneNews
	}
	return lane
}

// enter puts a key at the end of its lane.
func (q *queue) enter(t *tenantQueue, w work) {
	lane := q.place(t, w)
	t.lanes[lane] = append(t.lanes[lane], w)
}

// addCause remembers what a key is for, and moves one that waits to the lane that it belongs to then.
func (q *queue) addCause(t *tenantQueue, w work, why cause) {
	from := q.place(t, w)
	t.causes[w] = t.causes[w].and(why)
	to := q.place(t, w)
	if _, waits := t.queued[w]; !waits || from == to {
		return
	}
	if index := slices.Index(t.lanes[from], w); index >= 0 {
		t.lanes[from] = slices.Delete(t.lanes[from], index, index+1)
		t.lanes[to] = append(t.lanes[to], w)
	}
}

// isOpen tells whether a key of a lane can be served. What a slow API server keeps waiting, pods mostly, must leave room for
// the other lanes.
func (t *tenantQueue) isOpen(lane Lane) bool {
	if len(t.lanes[lane]) == 0 {
		return false
	}
	if lane == laneNews {
		lane = LaneFirst
	}
	return !t.isSlow || t.busy[lane] < max(t.limit/2, 1)
}

// pop takes the next ordinary key. The first lanes go first, but not always: a tenant whose pods never end to change has other
// objects, too.
func (t *tenantQueue) pop() work {
	t.popped++
	order := laneOrders[t.popped%len(laneOrders)]
	if t.popped%othersEvery == 0 {
		order = laneOrdersOfOther[t.popped/othersEvery%len(laneOrdersOfOther)]
	}
	for _, lane := range order {
		if !t.isOpen(lane) {
			continue
		}
		w := t.lanes[lane][0]
		t.lanes[lane] = t.lanes[lane][1:]
		return w
	}
	panic("the lanes are empty but work is queued") // broken invariant of add and take
}

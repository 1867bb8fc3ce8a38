package engine

// laneOrder says which lane is served first, laneOrderOfOthers which is each time that the others have their turn.
var (
	laneOrder         = [3]Lane{LaneFirst, LaneNormal, LaneLast}
	laneOrderOfOthers = [3][3]Lane{{LaneNormal, LaneLast, LaneFirst}, {LaneNormal, LaneLast, LaneFirst}, {LaneLast, LaneNormal, LaneFirst}}
)

// othersEvery is how often the others have their turn.
const othersEvery = 8

// isOpen tells whether a key of a lane can be served. What a slow API server keeps waiting, pods mostly, must leave room for
// the other lanes.
func (t *tenantQueue) isOpen(lane Lane) bool {
	return len(t.lanes[lane]) > 0 && (!t.isSlow || t.busy[lane] < max(t.limit/2, 1))
}

// pop takes the next ordinary key. The first lane goes first, but not always: a tenant whose pods never end to change has other
// objects, too.
func (t *tenantQueue) pop() work {
	t.popped++
	order := laneOrder
	if t.popped%othersEvery == 0 {
		order = laneOrderOfOthers[t.popped/othersEvery%len(laneOrderOfOthers)]
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

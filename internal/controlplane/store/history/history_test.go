package history

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/k3s-io/kine/pkg/server"
)

func written(revision int64, valueBytes int) *server.Event {
	return &server.Event{Create: true, KV: &server.KeyValue{Key: fmt.Sprintf("/%d", revision%3), ModRevision: revision, Value: make([]byte, valueBytes)}}
}

// table is a store that keeps everything.
type table struct{ events []*server.Event }

func (s *table) older(_ context.Context, key, end string, after int64) (Page, error) {
	return cut(server.EventBatch{Events: s.events[after:], CurrentRev: int64(len(s.events))}, key, end, after), nil
}

// TestFollowersGetEverythingOnce: whether it comes from memory or from the store, for all keys and for one.
func TestFollowersGetEverythingOnce(t *testing.T) {
	const count = 3 * maxEvents
	s := &table{}
	h := New(0, s.older)
	done := errors.New("done")
	for i := range int64(count) {
		s.events = append(s.events, written(i+1, 10))
		h.Publish(s.events[i:])
	}
	for key, each := range map[string]int64{"": 1, "/1": 3} {
		for _, from := range []int64{0, count - maxEvents - 1, count - maxEvents, count - 10} {
			last := from
			err := h.Follow(t.Context(), key, "", from, func(page Page) error {
				for _, event := range page.Events {
					if got := event.KV.ModRevision; got <= last || got > last+each {
						return fmt.Errorf("revision %d after %d", got, last)
					}
					last = event.KV.ModRevision
				}
				if last > count-each {
					return done
				}
				return nil
			})
			if !errors.Is(err, done) {
				t.Errorf("key %q from %d: %v", key, from, err)
			}
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	h := New(0, nil)
	for i := range int64(2 * maxEvents) {
		h.Publish([]*server.Event{written(i+1, 0)})
	}
	if len(h.recent) != maxEvents {
		t.Errorf("%d events are kept", len(h.recent))
	}
	for i := range int64(10) {
		h.Publish([]*server.Event{written(2*maxEvents+i+1, maxBytes/4)})
	}
	if h.bytes > maxBytes || len(h.recent) == 0 {
		t.Errorf("%d bytes in %d events are kept", h.bytes, len(h.recent))
	}
	if page, ok := h.Recent(h.from); !ok || len(page.Events) != len(h.recent) || page.Through != h.current {
		t.Errorf("what is kept is not found: %d of %d events until %d", len(page.Events), len(h.recent), page.Through)
	}
	if _, ok := h.Recent(h.from - 1); ok {
		t.Error("what was forgotten is said to be there")
	}
}

// What comes twice, as from a watch that begins anew, is published once.
func TestPublishedOnce(t *testing.T) {
	h := New(5, nil)
	h.Publish([]*server.Event{written(5, 0), written(6, 0)})
	h.Publish([]*server.Event{written(6, 0), written(7, 0)})
	page, ok := h.Recent(5)
	if !ok || len(page.Events) != 2 || page.Through != 7 {
		t.Errorf("got %d events until %d", len(page.Events), page.Through)
	}
}

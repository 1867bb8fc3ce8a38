package sqlite

import (
	"context"
	"errors"
	"testing"

	"github.com/k3s-io/kine/pkg/logstructured"
	"github.com/k3s-io/kine/pkg/server"
	"github.com/sirupsen/logrus"
)

var errFull = errors.New("database or disk is full")

// brokenLog stores nothing more and holds what it was given.
type brokenLog struct {
	logstructured.Log
	stored []*server.Event
	// failures are the results of the inserts, in order.
	failures []error
}

func (b *brokenLog) Append(context.Context, *server.Event) (int64, error) {
	err := b.failures[0]
	b.failures = b.failures[1:]
	if err != nil {
		return 0, err
	}
	return 8, nil
}

func (b *brokenLog) List(context.Context, string, string, int64, int64, bool, bool) (server.EventBatch, error) {
	return server.EventBatch{CurrentRev: 7, Events: b.stored}, nil
}

func (b *brokenLog) CurrentRevision(context.Context) (int64, error) { return 7, nil }

func stored(deleted bool) []*server.Event {
	return []*server.Event{{Delete: deleted, KV: &server.KeyValue{Key: "/a", ModRevision: 5}, PrevKV: &server.KeyValue{}}}
}

func TestFailedWritesAreErrors(t *testing.T) {
	raced := errors.Join(server.ErrKeyExists, nil)
	for name, tc := range map[string]struct {
		log  brokenLog
		call func(server.Backend) (succeeded bool, err error)
		want error
		// succeeds is what is wanted where there is no error.
		succeeds bool
	}{
		"create on a full disk":                  {log: brokenLog{failures: []error{errFull}}, call: create, want: errFull},
		"create":                                 {log: brokenLog{failures: []error{nil}}, call: create, succeeds: true},
		"create what is there":                   {log: brokenLog{failures: []error{raced}, stored: stored(false)}, call: create, want: server.ErrKeyExists},
		"create what was deleted":                {log: brokenLog{failures: []error{raced, nil}, stored: stored(true)}, call: create, succeeds: true},
		"create what was deleted on a full disk": {log: brokenLog{failures: []error{raced, errFull}, stored: stored(true)}, call: create, want: errFull},
		"update on a full disk":                  {log: brokenLog{failures: []error{errFull}, stored: stored(false)}, call: update, want: errFull},
		"update":                                 {log: brokenLog{failures: []error{nil}, stored: stored(false)}, call: update, succeeds: true},
		"update after another":                   {log: brokenLog{failures: []error{raced}, stored: stored(false)}, call: update},
		"delete on a full disk":                  {log: brokenLog{failures: []error{errFull}, stored: stored(false)}, call: remove, want: errFull},
		"delete":                                 {log: brokenLog{failures: []error{nil}, stored: stored(false)}, call: remove, succeeds: true},
		"delete after another":                   {log: brokenLog{failures: []error{raced}, stored: stored(false)}, call: remove},
	} {
		t.Run(name, func(t *testing.T) {
			succeeded, err := tc.call(newTruthful(&tc.log))
			if !errors.Is(err, tc.want) || err != nil && tc.want == nil {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if err == nil && succeeded != tc.succeeds {
				t.Errorf("succeeded: %v, want %v", succeeded, tc.succeeds)
			}
		})
	}
}

func create(backend server.Backend) (bool, error) {
	_, err := backend.Create(context.Background(), "/a", []byte("value"), 0)
	return true, err
}

func update(backend server.Backend) (bool, error) {
	_, _, succeeded, err := backend.Update(context.Background(), "/a", []byte("value"), 5, 0)
	return succeeded, err
}

func remove(backend server.Backend) (bool, error) {
	_, _, succeeded, err := backend.Delete(context.Background(), "/a", 5)
	return succeeded, err
}

// The content of what cannot be written may be a Secret.
func TestLogShowsNoValues(t *testing.T) {
	format := withoutValues{&logrus.TextFormatter{}}
	for message, isShown := range map[string]bool{
		`error in txn compare:{} success:{request_put:{value:"secret"}}: disk is full`: false,
		"Datastore does not write: create /a: disk is full":                            true,
	} {
		line, err := format.Format(&logrus.Entry{Message: message, Logger: logrus.StandardLogger()})
		if err != nil || (len(line) > 0) != isShown {
			t.Errorf("%q becomes %q (%v)", message, line, err)
		}
	}
}

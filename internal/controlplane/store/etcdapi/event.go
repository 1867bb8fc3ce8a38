package etcdapi

import (
	"github.com/k3s-io/kine/pkg/server"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// An API server keeps the compacted revision under a key that kine uses itself, so kine keeps it under another.
const (
	compactKey       = "compact_rev_key"
	storedCompactKey = "compact_rev_key_apiserver"
)

func storedKey(key []byte) string {
	if string(key) == compactKey {
		return storedCompactKey
	}
	return string(key)
}

func (w *watch) wants(event *server.Event) bool {
	if event.KV.ModRevision < w.next || !event.InRange(w.key, w.end) {
		return false
	}
	if event.Delete {
		return !w.ignoresDelete
	}
	return !w.ignoresPut
}

func (w *watch) event(event *server.Event) *mvccpb.Event {
	e := &mvccpb.Event{Kv: pair(event.KV)}
	if event.Delete {
		e.Type = mvccpb.DELETE
	}
	if !event.Create && w.wantsPrevious && event.PrevKV != nil {
		e.PrevKv = pair(event.PrevKV)
	}
	return e
}

func pair(kv *server.KeyValue) *mvccpb.KeyValue {
	stored := &mvccpb.KeyValue{
		Key: []byte(kv.Key), Value: kv.Value, Version: kv.Version, Lease: kv.Lease,
		CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision,
	}
	if kv.Key == storedCompactKey {
		stored.Key = []byte(compactKey)
		stored.Version, stored.Value = server.DecodeVersion(kv.Value)
	}
	return stored
}

package namespaces

import (
	"testing"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostranges"
)

// TestForgottenWhileBeingMade: a fence that is damaged just after a call looked at it is looked at once more.
func TestForgottenWhileBeingMade(t *testing.T) {
	ensurer := New(nil, Options{Ranges: &hostranges.Source{}})
	const name = "vc-aaaaaaaa-default"
	wanted := look{uid: "uid-a"}
	if !ensurer.begin(name, wanted) {
		t.Fatal("a namespace that nobody made is complete")
	}
	ensurer.Forget(name)
	ensurer.end(name, wanted, nil)
	if !ensurer.begin(name, wanted) {
		t.Fatal("it counts as complete, though it was forgotten meanwhile")
	}
	ensurer.end(name, wanted, nil)
	if ensurer.begin(name, wanted) {
		t.Error("it is made again, though nobody forgot it")
	}
}

// TestForgetTenant: another replica has served the tenant since, and may have seen what this one did not.
func TestForgetTenant(t *testing.T) {
	ensurer := New(nil, Options{Ranges: &hostranges.Source{}})
	names := map[string]look{"vc-aaaaaaaa-default": {uid: "uid-a"}, "vc-aaaaaaaa-web": {uid: "uid-a"}, "vc-bbbbbbbb-default": {uid: "uid-b"}}
	for name, wanted := range names {
		ensurer.begin(name, wanted)
		ensurer.end(name, wanted, nil)
	}
	busy := look{uid: "uid-a"}
	ensurer.begin("vc-aaaaaaaa-busy", busy)
	ensurer.ForgetTenant("uid-a")
	ensurer.end("vc-aaaaaaaa-busy", busy, nil)
	names["vc-aaaaaaaa-busy"] = busy
	for name, wanted := range names {
		if isForgotten := ensurer.begin(name, wanted); isForgotten != (wanted.uid == "uid-a") {
			t.Errorf("%s is forgotten: %t", name, isForgotten)
		}
	}
}

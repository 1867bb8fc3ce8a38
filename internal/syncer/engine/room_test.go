package engine

import "testing"

func TestRoom(t *testing.T) {
	r := newRoom(100)
	var gone []string
	enter := func(name string) *share { return r.enter(func() { gone = append(gone, name) }) }
	small, large, new := enter("small"), enter("large"), enter("new")
	small.add(20)
	large.add(60)
	new.add(20)
	if len(gone) != 0 {
		t.Fatalf("%v went while there was room", gone)
	}
	new.add(1)
	if len(gone) != 1 || gone[0] != "large" {
		t.Fatalf("%v went, want the one that has most", gone)
	}
	large.add(1000) // it is being let go, and still reads
	large.end()
	if r.taken != 41 || len(gone) != 1 {
		t.Errorf("%d are taken and %v went", r.taken, gone)
	}
	small.add(-20)
	new.end()
	if r.taken != 0 {
		t.Errorf("%d are taken of what was given back", r.taken)
	}
	new.add(10)
	if r.taken != 0 {
		t.Error("what has ended counts")
	}
}

func TestNoRoomIsNoBound(t *testing.T) {
	r := newRoom(0)
	s := r.enter(func() { t.Error("it was let go") })
	s.add(1 << 60)
}

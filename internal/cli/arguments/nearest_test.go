package arguments

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"top", "up", "connect", "create"}
	for word, want := range map[string]string{"upp": "up", "conect": "connect", "craete": "create", "turnips": "", "": "up"} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q is near %q, want %q", word, got, want)
		}
	}
}

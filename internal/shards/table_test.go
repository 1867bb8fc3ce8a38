package shards

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTableIsReadAsItWasWritten(t *testing.T) {
	wrote := table{uid: "u", version: "7", writes: 4}.with("a", []int{3, 1}).with("b", []int{2}).with("c", []int{9}).with("c", nil)
	lease, err := wrote.lease()
	if err != nil {
		t.Fatal(err)
	}
	read, err := parseTable(lease)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]int{"a": {1, 3}, "b": {2}}, read.holders); diff != "" {
		t.Error(diff)
	}
	if read.writes != 5 || !read.isNewerThan(wrote) || wrote.isNewerThan(read) {
		t.Errorf("written after %d it counts %d writes", wrote.writes, read.writes)
	}
	if free := read.free(); len(free) != Count-3 || free[0] != 0 || free[1] != 4 {
		t.Errorf("free are %v", free)
	}
}

// TestTableOfSomebodyElse: whoever may write Leases can write anything.
func TestTableOfSomebodyElse(t *testing.T) {
	cases := map[string]struct {
		text    string
		want    map[string][]int
		isError bool
	}{
		"empty":           {"", map[string][]int{}, false},
		"no JSON":         {"{", map[string][]int{}, true},
		"of another form": {`["a"]`, map[string][]int{}, true},
		"outside":         {`{"a":[-1,0,64]}`, map[string][]int{"a": {0}}, false},
		"held twice":      {`{"a":[1,2],"b":[2],"c":[5,5]}`, map[string][]int{"a": {1}}, false},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			read, err := parseTable(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{AnnotationHolders: test.text}}})
			if (err != nil) != test.isError {
				t.Errorf("got error %v", err)
			}
			if diff := cmp.Diff(test.want, read.holders); diff != "" {
				t.Error(diff)
			}
		})
	}
}

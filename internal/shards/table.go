package shards

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// TableName is the name of the Lease that says who holds which shard.
	TableName = "matryoshka-agent-shards"
	// AnnotationHolders is where it says so: a JSON object of the replicas, each with the array of its shards.
	AnnotationHolders = "matryoshka.dev/shards"
	// labelRole marks the Leases of this package.
	labelRole  = "matryoshka.dev/shards"
	roleTable  = "table"
	roleMember = "member"
)

// table says who holds which shard, as a version of its Lease has it. The zero value is the table that does not exist yet.
type table struct {
	holders map[string][]int
	// uid and version are the Lease's; writes grows with every one.
	uid     types.UID
	version string
	writes  int32
}

// parseTable reads a table. Shards that two replicas are said to hold, and those that do not exist, are nobody's.
func parseTable(lease *coordinationv1.Lease) (table, error) {
	read := table{holders: map[string][]int{}, uid: lease.UID, version: lease.ResourceVersion}
	if lease.Spec.LeaseTransitions != nil {
		read.writes = *lease.Spec.LeaseTransitions
	}
	written := map[string][]int{}
	if text := lease.Annotations[AnnotationHolders]; text != "" {
		if err := json.Unmarshal([]byte(text), &written); err != nil {
			return read, fmt.Errorf("read annotation %s of Lease %q, which is taken as empty: %w", AnnotationHolders, lease.Name, err)
		}
	}
	said := map[int]int{}
	for _, shards := range written {
		for _, shard := range shards {
			said[shard]++
		}
	}
	for holder, shards := range written {
		shards = slices.DeleteFunc(shards, func(shard int) bool { return shard < 0 || shard >= Count || said[shard] > 1 })
		if len(shards) > 0 {
			read.holders[holder] = shards
		}
	}
	return read, nil
}

// lease is the next version of the table's Lease. It differs from the last one even if the holders are the same.
func (t table) lease() (*coordinationv1.Lease, error) {
	text, err := json.Marshal(t.holders)
	if err != nil {
		return nil, fmt.Errorf("write the holders of shards: %w", err)
	}
	writes := t.writes + 1
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: TableName, UID: t.uid, ResourceVersion: t.version,
			Labels: map[string]string{labelRole: roleTable}, Annotations: map[string]string{AnnotationHolders: string(text)},
		},
		Spec: coordinationv1.LeaseSpec{LeaseTransitions: &writes},
	}, nil
}

// with is a copy in which a replica holds exactly these shards.
func (t table) with(holder string, shards []int) table {
	t.holders = maps.Clone(t.holders)
	if t.holders == nil {
		t.holders = map[string][]int{}
	}
	delete(t.holders, holder)
	if len(shards) > 0 {
		t.holders[holder] = slices.Sorted(slices.Values(shards))
	}
	return t
}

// free are the shards that nobody holds.
func (t table) free() []int {
	var free []int
	for shard := range Count {
		isHeld := false
		for _, shards := range t.holders {
			isHeld = isHeld || slices.Contains(shards, shard)
		}
		if !isHeld {
			free = append(free, shard)
		}
	}
	return free
}

// isNewerThan tells which of two tables was written later. One that was made anew, or removed, counts as later.
func (t table) isNewerThan(other table) bool {
	return t.uid != other.uid || t.writes > other.writes
}

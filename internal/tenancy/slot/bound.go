package slot

import "slices"

// bound is the number below which slots may be claimed, so that there are never more than limit: the largest b for which b and
// the slots from b on are together at most limit. It is 0 when none may be claimed.
//
// It is limit itself unless the limit has been lowered below numbers that are held. Who claims below the bound does not change how
// many there are from it on, and who releases only makes them fewer, so the bound of a limit never falls: a claim by what
// somebody has seen a while ago is below the present bound too, and below it there is no room for more than b.
func bound(held []int, limit int) int {
	sorted := slices.Clone(held)
	slices.Sort(sorted)
	b := limit
	for b > 0 {
		position, _ := slices.BinarySearch(sorted, b)
		above := len(sorted) - position
		if b+above <= limit {
			return b
		}
		b = min(b-1, limit-above)
	}
	return max(b, 0)
}

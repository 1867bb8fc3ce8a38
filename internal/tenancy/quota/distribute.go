package quota

import (
	"slices"
	"time"
)

// plot is what one namespace has of one resource.
type plot struct {
	// spec and hard are spec.hard and status.hard of its ResourceQuota, used is status.used.
	spec, hard, used int64
	// held is what may be used beside that, though nobody counts it: see lot.
	held int64
	// want is what hard should be for requests that wait; 0 is no wish. wantedAt orders wishes.
	want     int64
	wantedAt time.Time
	// fair is what distribute found to be its part.
	fair int64
	// isOpen says that hard may be raised.
	isOpen bool
}

// claim is the most that the namespace can come to use before anybody raises its bounds again.
func (p *plot) claim() int64 { return plus(max(p.spec, p.hard, p.used), p.held) }

// sumOfClaims is what cannot be given to others now.
func sumOfClaims(plots []plot) int64 {
	sum := int64(0)
	for index := range plots {
		sum = plus(sum, plots[index].claim())
	}
	return sum
}

// How unused parts are spread.
const (
	// spread is the part of what is unused that is spread evenly, as 1/spread; the rest is given where it is needed.
	spread = 2
	// plenty is how many shares of room a namespace may keep.
	plenty = 3
	// crumb is the part of the whole, as 1/crumb, that is not worth a write.
	crumb = 100
)

// distribute says what each namespace should have of a resource of which the account has total: what it uses, then what
// requests wait for, the newest first, then an even share of half of the rest. What is nearly so stays as it is. The
// targets, with what is used beyond them and held, are within total; if more than that is used, they alone are.
func distribute(total int64, plots []plot, grain int64) []int64 {
	targets := make([]int64, len(plots))
	rest := total
	for index := range plots {
		rest -= min(plus(plots[index].used, plots[index].held), most)
		if rest <= 0 {
			squeeze(total, plots, targets)
			return targets
		}
	}
	rest -= grantWishes(plots, targets, rest)
	share := rest / (spread * max(int64(len(plots)), 1))
	if share > grain {
		share -= share % grain
	}
	excess := -total
	for index := range plots {
		one := &plots[index]
		fair := one.used + targets[index] + share
		switch least := fair - share/2; {
		case one.hard < least:
			targets[index] = fair
		case one.hard > fair+(plenty-1)*share+max(total/crumb, 1):
			targets[index] = fair
		default:
			targets[index] = one.hard
		}
		excess += plus(max(targets[index], one.used), one.held)
		plots[index].fair = fair
	}
	takeBack(plots, targets, excess)
	return targets
}

// grantWishes puts into granted what each namespace gets for requests that wait, and returns the sum. A wish is of several requests,
// so a part of it lets some of them through.
func grantWishes(plots []plot, granted []int64, rest int64) int64 {
	var wishing []int
	for index := range plots {
		if plots[index].want > plots[index].used {
			wishing = append(wishing, index)
		}
	}
	slices.SortStableFunc(wishing, func(a, b int) int { return plots[b].wantedAt.Compare(plots[a].wantedAt) })
	sum := int64(0)
	for _, index := range wishing {
		granted[index] = min(plots[index].want-plots[index].used, rest-sum)
		sum += granted[index]
	}
	return sum
}

// takeBack lowers targets that are above what is fair until they fit.
func takeBack(plots []plot, targets []int64, excess int64) {
	for index := range plots {
		if excess <= 0 {
			return
		}
		if cut := min(excess, targets[index]-plots[index].fair); cut > 0 {
			targets[index] -= cut
			excess -= cut
		}
	}
}

// squeeze leaves no namespace more than it uses, and all together no more than there is.
func squeeze(total int64, plots []plot, targets []int64) {
	for index := range plots {
		targets[index] = min(plots[index].used, max(total, 0))
		total -= targets[index]
	}
}

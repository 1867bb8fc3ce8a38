package quota

import (
	"encoding/json"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// wishPrefix begins the annotations of a ResourceQuota by which the replicas of the agent tell the one that owns the quota what
// waiting requests need; the replica's name follows.
const wishPrefix = "wish.quota.matryoshka.dev/"

// wishLasts is how long room is kept for a request after it was last heard of.
const wishLasts = 5 * time.Minute

// wish is what status.hard should be, for a request to get through.
type wish struct {
	Hard map[corev1.ResourceName]int64 `json:"hard"`
	At   time.Time                     `json:"at"`
}

func (w wish) isOver(now time.Time) bool { return now.Sub(w.At) > wishLasts }

// wishesOf reads the wishes of all replicas. What cannot be read is none.
func wishesOf(quota *corev1.ResourceQuota) []wish {
	var wishes []wish
	for key, value := range quota.Annotations {
		if !strings.HasPrefix(key, wishPrefix) {
			continue
		}
		var one wish
		if json.Unmarshal([]byte(value), &one) == nil {
			wishes = append(wishes, one)
		}
	}
	return wishes
}

// wanted is the largest wish for a resource, and when the newest one was made.
func wanted(wishes []wish, name corev1.ResourceName, now time.Time) (want int64, at time.Time) {
	for _, one := range wishes {
		if one.isOver(now) || one.Hard[name] <= 0 {
			continue
		}
		want = max(want, min(one.Hard[name], most))
		if one.At.After(at) {
			at = one.At
		}
	}
	return want, at
}

// withoutOldWishes removes what nobody waits for any more.
func withoutOldWishes(annotations map[string]string, now time.Time) {
	for key, value := range annotations {
		var one wish
		if strings.HasPrefix(key, wishPrefix) && (json.Unmarshal([]byte(value), &one) != nil || one.isOver(now)) {
			delete(annotations, key)
		}
	}
}

func (w wish) text() string {
	text, err := json.Marshal(w)
	if err != nil {
		panic(err) // numbers and a time
	}
	return string(text)
}

package controlplane

import "testing"

func TestNextGCPercent(t *testing.T) {
	tests := map[string]struct {
		percent     int
		collections uint64
		want        int
	}{
		"idle stays idle":                        {idleGCPercent, 0, idleGCPercent},
		"some work is no load":                   {idleGCPercent, busyCollections - 1, idleGCPercent},
		"load":                                   {idleGCPercent, busyCollections, busyGCPercent},
		"busy stays busy while anything is done": {busyGCPercent, 1, busyGCPercent},
		"a quiet interval ends it":               {busyGCPercent, 0, idleGCPercent},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := nextGCPercent(test.percent, test.collections); got != test.want {
				t.Errorf("nextGCPercent(%d, %d) = %d, want %d", test.percent, test.collections, got, test.want)
			}
		})
	}
}

package pod

import (
	"strings"
	"testing"
	"time"
)

func TestRefreshTime(t *testing.T) {
	// {"iat":1000,"exp":1600}
	const asked = "e30.eyJpYXQiOjEwMDAsImV4cCI6MTYwMH0.s"
	// {"kid":"k1"}
	const signedByK1 = "eyJraWQiOiJrMSJ9.eyJpYXQiOjEwMDAsImV4cCI6MTYwMH0.s"
	for name, tc := range map[string]struct {
		token, keyID string
		now, want    int64
	}{
		"Asked": {asked, "", 1000, 1300},
		// {"iat":1000,"exp":99999,"kubernetes.io":{"warnafter":1600}}
		"Extended":       {"e30.eyJpYXQiOjEwMDAsImV4cCI6OTk5OTksImt1YmVybmV0ZXMuaW8iOnsid2FybmFmdGVyIjoxNjAwfX0.s", "", 1000, 1300},
		"OfALittleAhead": {asked, "", 700, 1300},
		"OfFarAhead":     {asked, "", 699, 699},
		"OfTheKey":       {signedByK1, "k1", 1000, 1300},
		"OfAnotherKey":   {signedByK1, "k2", 1000, 1000},
		"OfNoKey":        {asked, "k2", 1000, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := refreshTime([]byte(tc.token), tc.keyID, time.Unix(tc.now, 0))
			if err != nil || !got.Equal(time.Unix(tc.want, 0)) {
				t.Errorf("got %v (%v), want %v", got, err, time.Unix(tc.want, 0))
			}
		})
	}
}

func TestNextRefresh(t *testing.T) {
	// {"iat":10000,"exp":13600}
	const token = "e30.eyJpYXQiOjEwMDAwLCJleHAiOjEzNjAwfQ.s"
	for name, tc := range map[string]struct {
		token, keyID string
		issued, want int64
	}{
		"SameClock":      {token, "", 10000, 11800},
		"OfAnotherKey":   {token, "k1", 10000, 10300},
		"ServerIsAhead":  {token, "", 10000 - 7200, 10000 - 7200 + 300},
		"ServerIsBehind": {token, "", 10000 + 7200, 10000 + 7200 + 300},
		"Unreadable":     {"opaque", "", 10000, 11800},
	} {
		t.Run(name, func(t *testing.T) {
			if got := nextRefresh([]byte(tc.token), tc.keyID, time.Unix(tc.issued, 0), time.Unix(13600, 0)); !got.Equal(time.Unix(tc.want, 0)) {
				t.Errorf("got %d, want %d", got.Unix(), tc.want)
			}
		})
	}
}

// FuzzRefreshTime: nothing that a tenant's API server may answer is a crash, quotes the token or never ends.
func FuzzRefreshTime(f *testing.F) {
	f.Add([]byte("e30.eyJpYXQiOjEwMDAsImV4cCI6MTYwMH0.s"))
	f.Add([]byte("a.b"))
	f.Fuzz(func(t *testing.T, token []byte) {
		at, err := refreshTime(token, "k1", time.Unix(1000, 0))
		if err == nil && at.IsZero() {
			t.Errorf("%q has no time and no error", token)
		}
		if err != nil && len(token) > 20 && strings.Contains(err.Error(), string(token)) {
			t.Errorf("the error quotes the token")
		}
	})
}

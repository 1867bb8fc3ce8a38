package pod

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// errNoLife says that a token does not tell how long it lives.
var errNoLife = errors.New("the token has no iat or exp")

// refreshTime is when half of a token's life is over, read from the token itself. It is now if the token comes from the future:
// the clock of the API server was ahead, and refuses its own token once it is right. The token is not verified: it is our own, and
// a wrong answer only makes it be refreshed too early.
func refreshTime(token []byte, now time.Time) (time.Time, error) {
	parts := bytes.Split(token, []byte("."))
	if len(parts) != 3 {
		return time.Time{}, errors.New("the token does not have three parts")
	}
	payload, err := base64.RawURLEncoding.DecodeString(string(parts[1]))
	if err != nil {
		return time.Time{}, errors.New("the token's payload is not base64url") // the cause would quote the token
	}
	var claims struct {
		IssuedAt   int64 `json:"iat"`
		Expires    int64 `json:"exp"`
		Kubernetes struct {
			// WarnAfter is the life that was asked for, where the API server makes it longer.
			WarnAfter int64 `json:"warnafter"`
		} `json:"kubernetes.io"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return time.Time{}, fmt.Errorf("the token's payload is not a claim set: %T", err)
	}
	if claims.Kubernetes.WarnAfter != 0 {
		claims.Expires = claims.Kubernetes.WarnAfter
	}
	if claims.IssuedAt <= 0 || claims.Expires <= claims.IssuedAt {
		return time.Time{}, errNoLife
	}
	issued := time.Unix(claims.IssuedAt, 0)
	if issued.After(now.Add(leastRefresh)) {
		return now, nil
	}
	return halfway(issued, time.Unix(claims.Expires, 0)), nil
}

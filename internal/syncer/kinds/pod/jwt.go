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

// refreshTime is when half of a token's life is over, read from the token itself. It is now if the token is signed by another key
// than the one of this ID, and if it comes from the future: the clock of the API server was ahead, and refuses its own token once it
// is right. The token is not verified: it is our own, and a wrong answer only makes it be refreshed too early. An empty keyID is any.
func refreshTime(token []byte, keyID string, now time.Time) (time.Time, error) {
	parts := bytes.Split(token, []byte("."))
	if len(parts) != 3 {
		return time.Time{}, errors.New("the token does not have three parts")
	}
	var header struct {
		KeyID string `json:"kid"`
	}
	if err := decodePart("header", parts[0], &header); err != nil {
		return time.Time{}, err
	}
	if keyID != "" && header.KeyID != keyID {
		return now, nil
	}
	var claims struct {
		IssuedAt   int64 `json:"iat"`
		Expires    int64 `json:"exp"`
		Kubernetes struct {
			// WarnAfter is the life that was asked for, where the API server makes it longer.
			WarnAfter int64 `json:"warnafter"`
		} `json:"kubernetes.io"`
	}
	if err := decodePart("payload", parts[1], &claims); err != nil {
		return time.Time{}, err
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

// decodePart reads one part of a token. Causes are left out: they would quote the token.
func decodePart(name string, part []byte, into any) error {
	content, err := base64.RawURLEncoding.DecodeString(string(part))
	if err != nil {
		return fmt.Errorf("the token's %s is not base64url", name)
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("the token's %s is not what it should be: %T", name, err)
	}
	return nil
}

//go:build !(linux && amd64)

package clockjump

import (
	"errors"
	"time"
)

// Set is not possible here.
func Set(int, time.Duration) error {
	return errors.New("the clock of a single process can be moved on Linux on amd64 only")
}

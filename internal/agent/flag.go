package agent

import (
	"errors"
	"sync/atomic"
)

var errNotFilled = errors.New("the caches are not filled yet")

// flag is set once.
type flag struct{ isSet atomic.Bool }

func (f *flag) set() { f.isSet.Store(true) }

func (f *flag) check() error {
	if !f.isSet.Load() {
		return errNotFilled
	}
	return nil
}

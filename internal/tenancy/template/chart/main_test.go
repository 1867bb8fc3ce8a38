package chart

import (
	"os"
	"testing"
)

// The test program renders charts too, in a process of its own.
func TestMain(m *testing.M) {
	if IsChild() {
		if err := Main(); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

package render

import (
	"os"
	"testing"

	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/chart"
)

// The test program renders charts too, in a process of its own.
func TestMain(m *testing.M) {
	if chart.IsChild() {
		if err := chart.Main(); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

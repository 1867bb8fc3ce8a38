// Command syncreference writes docs/user/sync-reference.md to its standard output; hack/generate.sh calls it.
package main

import (
	"fmt"
	"os"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/reference"
)

func main() {
	if err := reference.Write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "write the reference:", err)
		os.Exit(1)
	}
}

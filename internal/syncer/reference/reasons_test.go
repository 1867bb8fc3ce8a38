package reference

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// noEvents are constants that are called reasons and are those of conditions and of status only.
var noEvents = []string{
	"Refused", "NotOnHost", "NotGranted", "Pending", "NoNamespace", // of conditions of the VirtualCluster
	"AddressRestored", "VirtualClusterSlept",
}

// TestEveryReasonIsInTheReference: users find every event that the code can write, and no other.
func TestEveryReasonIsInTheReference(t *testing.T) {
	var inCode, told []string
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		inCode = append(inCode, reasonsIn(file)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range Reasons {
		told = append(told, reason.Name)
	}
	inCode = slices.DeleteFunc(inCode, func(reason string) bool { return slices.Contains(noEvents, reason) })
	slices.Sort(inCode)
	slices.Sort(told)
	if diff := cmp.Diff(slices.Compact(inCode), told); diff != "" {
		t.Errorf("reasons in the code (-) and in the reference (+):\n%s", diff)
	}
}

// reasonsIn are the values of the constants of a file whose names begin with reason.
func reasonsIn(file *ast.File) []string {
	var found []string
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for index, name := range spec.Names {
			if !strings.HasPrefix(strings.ToLower(name.Name), "reason") || index >= len(spec.Values) {
				continue
			}
			literal, ok := spec.Values[index].(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				continue
			}
			if value, err := strconv.Unquote(literal.Value); err == nil {
				found = append(found, value)
			}
		}
		return true
	})
	return found
}

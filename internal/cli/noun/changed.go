package noun

import (
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/cli/output"
)

// showChanged prints what a command has changed: a line for each object, or the objects in the form that was asked for.
func (k *Kind[T]) showChanged(w io.Writer, form *output.Flags, objects []T, what string) error {
	if form.Format == "" {
		for _, object := range objects {
			if _, err := fmt.Fprintln(w, k.done(object, what)); err != nil {
				return err
			}
		}
		return nil
	}
	columns := func() *metav1.Table { return k.Table(objects, k.Namespaced) }
	if len(objects) == 1 {
		return form.Print(w, objects[0], columns)
	}
	list, err := k.listOf(objects)
	if err != nil {
		return err
	}
	return form.Print(w, list, columns)
}

package noun

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// maxFile bounds what is read of a file. An object has at most 1.5 MiB in the API server's store.
const maxFile = 8 << 20

// fromFile reads the objects of a file, all of which must be of this kind.
func (k *Kind[T]) fromFile(stdin io.Reader, file, namespace string) ([]T, error) {
	content, err := readFile(stdin, file)
	if err != nil {
		return nil, err
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	var objects []T
	for number := 1; ; number++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, exit.Usagef("-f %s: %w", file, err)
		}
		object, isEmpty, err := k.parse(document)
		if err != nil {
			return nil, exit.Usagef("-f %s: object %d: %w", file, number, err)
		}
		if isEmpty {
			continue
		}
		if k.Namespaced && object.GetNamespace() == "" {
			object.SetNamespace(namespace)
		}
		objects = append(objects, object)
	}
	if len(objects) == 0 {
		return nil, exit.Usagef("-f %s: there is no object in it", file)
	}
	return objects, nil
}

func readFile(stdin io.Reader, file string) ([]byte, error) {
	from := stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, exit.Usagef("-f: %w", err)
		}
		defer func() { _ = opened.Close() }()
		from = opened
	}
	content, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(content) > maxFile {
		return nil, exit.Usagef("-f %s: it has more than %d MiB", file, maxFile>>20)
	}
	return content, nil
}

// parse reads one document. A field that the kind does not have is an error: it would be dropped in silence.
func (k *Kind[T]) parse(document []byte) (object T, isEmpty bool, err error) {
	object = k.Empty()
	var raw map[string]any
	if err := yaml.Unmarshal(document, &raw); err != nil {
		return object, false, fmt.Errorf("it is not YAML of an object: %w", err)
	}
	if len(raw) == 0 {
		return object, true, nil
	}
	is := (&unstructured.Unstructured{Object: raw}).GroupVersionKind()
	if is != k.Kind {
		return object, false, fmt.Errorf("it is a %s of %s, not a %s of %s; `matry kubectl create -f` takes every kind",
			is.Kind, is.GroupVersion(), k.Kind.Kind, k.Kind.GroupVersion())
	}
	if k.Check != nil {
		if err := k.Check(raw); err != nil {
			return object, false, err
		}
	}
	if err := yaml.UnmarshalStrict(document, object); err != nil {
		return object, false, fmt.Errorf("it is no %s: %w", k.Title, err)
	}
	return object, false, nil
}

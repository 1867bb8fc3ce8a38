package noun

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/kubectl/pkg/cmd/util/editor"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// errUnchanged is that nothing was to be written.
var errUnchanged = errors.New("nothing was changed")

// conflictsMost is how often a write is tried again when the object was changed elsewhere at the same time.
const conflictsMost = 10

// editing is one object in an editor.
type editing struct {
	cluster client.Client
	check   func(raw map[string]any) error
	dryRun  bool
	// open shows a text in an editor and returns what became of it, and the file in which that is.
	open func(text []byte) (edited []byte, file string, err error)

	// original is the object as the text shows it.
	original *unstructured.Unstructured
	// kept is the file with the text that could not be written.
	kept string
}

// openEditor opens the editor that the environment names, as kubectl edit does.
func openEditor(text []byte) ([]byte, string, error) {
	edited, file, err := editor.NewDefaultEditor([]string{"KUBE_EDITOR", "EDITOR"}).LaunchTempFile("matry-edit-", ".yaml", bytes.NewReader(text))
	if err != nil {
		return nil, file, fmt.Errorf("run the editor: %w; $EDITOR names another one", err)
	}
	return edited, file, nil
}

func (e *editing) read(ctx context.Context, key client.ObjectKey) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := e.cluster.Get(ctx, key, e.original); err != nil {
		return err
	}
	shown(e.original)
	return nil
}

// shown leaves out what nobody edits.
func shown(object *unstructured.Unstructured) {
	object.SetManagedFields(nil)
	unstructured.RemoveNestedField(object.Object, "status")
}

// run opens the editor until what comes out of it is written, is the same as before, or cannot be written.
func (e *editing) run(ctx context.Context) error {
	body, err := yaml.Marshal(e.original.Object)
	if err != nil {
		return fmt.Errorf("encode the object: %w", err)
	}
	before, problem := body, error(nil)
	for {
		edited, file, err := e.open(append(header(problem), before...))
		if err != nil {
			removeFile(file)
			return err
		}
		edited = withoutHeader(edited)
		switch {
		case len(bytes.TrimSpace(edited)) == 0, bytes.Equal(edited, body):
			removeFile(file)
			return errUnchanged
		case problem != nil && bytes.Equal(edited, before):
			// The person has given up on it.
			e.kept = file
			return problem
		}
		problem = e.save(ctx, edited)
		if problem == nil || errors.Is(problem, errUnchanged) {
			removeFile(file)
			return problem
		}
		if !mendable(problem) {
			e.kept = file
			return problem
		}
		removeFile(file)
		before = edited
	}
}

// mendable tells whether another text can help.
func mendable(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err) || exit.CodeOf(err) == exit.Usage
}

// save writes what the text changes.
func (e *editing) save(ctx context.Context, text []byte) error {
	var raw map[string]any
	if err := yaml.UnmarshalStrict(text, &raw); err != nil {
		return exit.Usagef("it is not YAML of an object: %w", err)
	}
	edited := &unstructured.Unstructured{Object: raw}
	if edited.GroupVersionKind() != e.original.GroupVersionKind() || edited.GetName() != e.original.GetName() || edited.GetNamespace() != e.original.GetNamespace() {
		return exit.Usagef("apiVersion, kind, name and namespace cannot be changed")
	}
	if e.check != nil {
		if err := e.check(raw); err != nil {
			return exit.Usagef("%w", err)
		}
	}
	mine, err := difference(e.original, edited)
	if err != nil {
		return err
	}
	if len(mine) == 0 {
		return errUnchanged
	}
	return e.patch(ctx, mine)
}

// patch writes the difference on top of what others have changed meanwhile.
func (e *editing) patch(ctx context.Context, mine map[string]any) error {
	version := e.original.GetResourceVersion()
	for range conflictsMost {
		err := e.send(ctx, mine, version)
		if !apierrors.IsConflict(err) {
			return err
		}
		if version, err = e.compare(ctx, mine); err != nil {
			return err
		}
	}
	return errors.New("the object is changed all the time by somebody else")
}

func (e *editing) send(ctx context.Context, mine map[string]any, version string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// With the version of the object, nobody's change between the last look and this write is lost.
	patch := &unstructured.Unstructured{Object: mine}
	patch = patch.DeepCopy()
	patch.SetResourceVersion(version)
	data, err := json.Marshal(patch.Object)
	if err != nil {
		return fmt.Errorf("encode the change: %w", err)
	}
	target := e.original.DeepCopy()
	options := []client.PatchOption{client.FieldOwner(fieldOwner), client.FieldValidation("Strict")}
	if e.dryRun {
		options = append(options, client.DryRunAll)
	}
	return e.cluster.Patch(ctx, target, client.RawPatch(types.MergePatchType, data), options...)
}

// compare looks at what others have changed. It returns the version to write on top of, or an error where both have changed the same.
func (e *editing) compare(ctx context.Context, mine map[string]any) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	current := &unstructured.Unstructured{}
	current.SetGroupVersionKind(e.original.GroupVersionKind())
	if err := e.cluster.Get(ctx, client.ObjectKeyFromObject(e.original), current); err != nil {
		return "", err
	}
	if current.GetUID() != e.original.GetUID() {
		return "", errors.New("it was deleted and made anew meanwhile")
	}
	version := current.GetResourceVersion()
	shown(current)
	theirs, err := difference(e.original, current)
	if err != nil {
		return "", err
	}
	conflicts, err := mergepatch.HasConflicts(mine, theirs)
	if err != nil {
		return "", fmt.Errorf("compare with the changes of others: %w", err)
	}
	if conflicts {
		return "", errors.New("somebody else has changed the same fields meanwhile; nothing was written")
	}
	return version, nil
}

// difference is the merge patch from one object to another, without what the server counts by itself.
func difference(from, to *unstructured.Unstructured) (map[string]any, error) {
	documents := make([][]byte, 2)
	for i, object := range []*unstructured.Unstructured{from, to} {
		object = object.DeepCopy()
		object.SetResourceVersion("")
		object.SetGeneration(0)
		object.SetManagedFields(nil)
		unstructured.RemoveNestedField(object.Object, "status")
		var err error
		if documents[i], err = json.Marshal(object.Object); err != nil {
			return nil, fmt.Errorf("encode the object: %w", err)
		}
	}
	patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(documents[0], documents[1], documents[0])
	if err != nil {
		return nil, fmt.Errorf("compare the objects: %w", err)
	}
	var result map[string]any
	if err := json.Unmarshal(patch, &result); err != nil {
		return nil, fmt.Errorf("compare the objects: %w", err)
	}
	return result, nil
}

// header is what the editor shows above the object.
func header(problem error) []byte {
	var text strings.Builder
	text.WriteString("# Change the object below. Lines that begin with '#' at the top are left out. An empty file changes nothing.\n#\n")
	if problem != nil {
		for line := range strings.Lines(exit.Message(problem)) {
			text.WriteString("# " + strings.TrimRight(line, "\n") + "\n")
		}
		text.WriteString("#\n")
	}
	return []byte(text.String())
}

// withoutHeader takes the comment lines at the top off.
func withoutHeader(text []byte) []byte {
	for len(text) > 0 && text[0] == '#' {
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			return nil
		}
		text = text[end+1:]
	}
	return text
}

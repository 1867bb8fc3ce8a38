package noun

import (
	"context"
	"io"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// callTimeout bounds a single call of the host's API.
const callTimeout = 30 * time.Second

// waitTimeout is how long commands wait when nothing else is said.
const waitTimeout = 3 * time.Minute

// Kind is what the commands know of a kind of object.
type Kind[T client.Object] struct {
	// Singular and Plural are the words of the commands and the resource of the API, such as "accountquota".
	Singular, Plural string
	// Title and Titles are what people call it, such as "account quota".
	Title, Titles string
	// Aliases are short words for both.
	Aliases []string
	// Kind is what it is in the API.
	Kind schema.GroupVersionKind
	// MaxName is how many characters a name may have; 0 means 50. WithDots allows dots in it.
	MaxName  int
	WithDots bool
	// Namespaced kinds live in spaces and other namespaces.
	Namespaced bool

	// Empty and EmptyList make what is read into.
	Empty     func() T
	EmptyList func() client.ObjectList

	// Columns of `matry get` behind the name.
	Columns []Column[T]
	// Conditions of the object's status. Nil means that the kind has none and is ready as it stands.
	Conditions func(T) []metav1.Condition
	// Wanted are reasons for which an object is not ready and yet as somebody wants it. Waiting ends there, and all is well.
	Wanted []string
	// Advice is what to do when the condition Ready is false for a reason that time alone does not cure. Waiting ends there. The word
	// NAME stands for the object's name.
	Advice map[string]string

	// Lines of `matry describe` behind the name: what it is called and what it is. Nil is none.
	Lines func(T) [][2]string
	// More writes further parts of `matry describe`. Nil is none.
	More func(ctx context.Context, w io.Writer, cluster client.Reader, object T)
	// Check says what is wrong with an object of this kind before it is sent, better than the API server could. Nil checks nothing.
	Check func(raw map[string]any) error
}

// Column is a column of `matry get`.
type Column[T client.Object] struct {
	Name string
	// Wide ones are shown with -o wide.
	Wide bool
	Cell func(T) string
}

// aliases are all words for the kind but the given one, which is the word of the command.
func (k *Kind[T]) aliases(word string) []string {
	all := append([]string{k.Singular, k.Plural}, k.Aliases...)
	others := make([]string, 0, len(all))
	for _, alias := range all {
		if alias != word {
			others = append(others, alias)
		}
	}
	return others
}

// label is an object as people write it.
func (k *Kind[T]) label(object client.Object) string {
	if k.Namespaced {
		return object.GetNamespace() + "/" + object.GetName()
	}
	return object.GetName()
}

// done is the line on standard output that says what happened.
func (k *Kind[T]) done(object client.Object, what string) string {
	return k.Singular + "." + k.Kind.Group + "/" + object.GetName() + " " + what
}

// command is a command line that helps: the verb, the word, the name and where it is.
func (k *Kind[T]) command(verb string, object client.Object) string {
	line := "matry " + verb + " " + k.Singular + " " + object.GetName()
	if k.Namespaced {
		line += " -n " + object.GetNamespace()
	}
	return line
}

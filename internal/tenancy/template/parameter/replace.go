package parameter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrTooLarge tells that replacing has made more than the budget allows.
var ErrTooLarge = errors.New("the values make the objects too large")

// Budget is how many bytes replacing may still write. Several calls share one.
type Budget struct{ left int }

// NewBudget allows so many bytes.
func NewBudget(bytes int) *Budget { return &Budget{left: bytes} }

func (b *Budget) take(bytes int) error {
	if b.left -= bytes; b.left < 0 {
		return ErrTooLarge
	}
	return nil
}

// text is a text of a tree after replacing.
type text struct {
	// typed is the value that takes the place of the text.
	typed any
	// written is the value as a text.
	written string
	// secret tells that something of it came from a Secret.
	secret bool
	// replaced are the texts that were put in.
	replaced []string
}

// Object puts the values into a parsed object and returns a new one. A value that came from a Secret may stand anywhere but in what
// is shown to others: apiVersion, kind and metadata.
func (v Values) Object(object map[string]any, budget *Budget) (map[string]any, error) {
	replaced := make(map[string]any, len(object))
	for key, child := range object {
		shown := key == "apiVersion" || key == "kind" || key == "metadata"
		result, err := v.tree(child, budget, func(t *text) error {
			if shown && t.secret {
				return errors.New("a value from a Secret must not stand in what everybody is shown: apiVersion, kind and metadata")
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s%w", key, err)
		}
		replaced[key] = result
	}
	return replaced, nil
}

// ChartValues puts the values into the values of a chart and returns new ones. Since charts may run their values as Go templates,
// a value that is put in must not be able to begin one.
func (v Values) ChartValues(values map[string]any, budget *Budget) (map[string]any, error) {
	replaced := make(map[string]any, len(values))
	for key, child := range values {
		result, err := v.tree(child, budget, refuseActions)
		if err != nil {
			return nil, fmt.Errorf("%s%w", key, err)
		}
		replaced[key] = result
	}
	return replaced, nil
}

// refuseActions looks at the ends, too: a chart may put values together.
func refuseActions(t *text) error {
	for _, part := range t.replaced {
		if strings.Contains(part, "{{") || strings.HasPrefix(part, "{") && !strings.HasPrefix(part, `{"`) || strings.HasSuffix(part, "{") {
			return errors.New(`a value for a chart must not contain "{{", nor begin or end with "{": charts may take their values for templates`)
		}
	}
	return nil
}

// Text puts the values into one text, such as the value of another template's parameter.
func (v Values) Text(template string, budget *Budget) (result string, secret bool, err error) {
	t, err := v.text(template, budget)
	if err != nil {
		return "", false, err
	}
	return t.written, t.secret, nil
}

// tree returns a tree of the same shape. Errors begin with the path.
func (v Values) tree(node any, budget *Budget, check func(*text) error) (any, error) {
	switch node := node.(type) {
	case map[string]any:
		replaced := make(map[string]any, len(node))
		for key, child := range node {
			result, err := v.tree(child, budget, check)
			if err != nil {
				return nil, fmt.Errorf(".%s%w", key, err)
			}
			replaced[key] = result
		}
		return replaced, nil
	case []any:
		replaced := make([]any, len(node))
		for i, child := range node {
			result, err := v.tree(child, budget, check)
			if err != nil {
				return nil, fmt.Errorf("[%d]%w", i, err)
			}
			replaced[i] = result
		}
		return replaced, nil
	case string:
		t, err := v.text(node, budget)
		if err == nil {
			err = check(t)
		}
		if err != nil {
			return nil, fmt.Errorf(": %w", err)
		}
		return t.typed, nil
	}
	return node, nil
}

// text replaces ${x} and unescapes $${.
func (v Values) text(template string, budget *Budget) (*text, error) {
	if name, ok := only(template); ok {
		value, err := v.get(name)
		if err != nil {
			return nil, err
		}
		return &text{typed: value.typed, written: value.text, secret: value.secret, replaced: []string{value.text}}, budget.take(len(value.text))
	}
	result := &text{}
	var written strings.Builder
	for rest := template; rest != ""; {
		before, after, found := strings.Cut(rest, "$")
		written.WriteString(before)
		if !found {
			break
		}
		switch {
		case strings.HasPrefix(after, "${"):
			written.WriteString("${")
			rest = after[len("${"):]
		case strings.HasPrefix(after, "{"):
			name, behind, closed := strings.Cut(after[1:], "}")
			if !closed {
				return nil, errors.New("${ is not closed by }; write $${ for the text ${")
			}
			value, err := v.get(name)
			if err != nil {
				return nil, err
			}
			if err := budget.take(len(value.text)); err != nil {
				return nil, err
			}
			written.WriteString(value.text)
			result.secret = result.secret || value.secret
			result.replaced = append(result.replaced, value.text)
			rest = behind
		default:
			written.WriteString("$")
			rest = after
		}
	}
	result.written = written.String()
	result.typed = result.written
	return result, budget.take(len(template))
}

// only finds the one parameter that a text is nothing but.
func only(template string) (name string, ok bool) {
	name, ok = strings.CutPrefix(template, "${")
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, "}")
	return name, ok && !strings.ContainsAny(name, "${}")
}

func (v Values) get(name string) (Value, error) {
	value, ok := v[name]
	if !ok {
		if len(name) > maxShown {
			name = name[:maxShown]
		}
		return Value{}, fmt.Errorf("the template has no parameter %s; write $${ for the text ${", strconv.Quote(name))
	}
	return value, nil
}

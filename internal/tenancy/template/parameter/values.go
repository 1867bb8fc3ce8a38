package parameter

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// The parameters that every template has.
const (
	Namespace = "namespace"
	Account   = "account"
)

// maxShown is how much of a value an error shows.
const maxShown = 64

// Given is a value as somebody has written it.
type Given struct {
	Name string
	Text string
	// Secret values appear in no error.
	Secret bool
}

// Value is the value of one parameter.
type Value struct {
	text   string
	typed  any
	secret bool
	// listed values are among the options that the template lists.
	listed bool
}

// Values are the values of all parameters of a template. They are not changed any more.
type Values map[string]Value

// Resolve reads what is given by the definitions of the parameters and adds the predefined ones, which are texts. It reports all
// that is wrong at once.
func Resolve(definitions []tenancyv1alpha1.TemplateParameter, given []Given, predefined map[string]string) (Values, error) {
	values := make(Values, len(definitions)+len(predefined))
	byName := make(map[string]Given, len(given))
	var problems []error
	for _, g := range given {
		if _, twice := byName[g.Name]; twice {
			problems = append(problems, fmt.Errorf("parameter %q is given twice", g.Name))
		}
		byName[g.Name] = g
	}
	for i := range definitions {
		definition := &definitions[i]
		g, ok := byName[definition.Name]
		delete(byName, definition.Name)
		value, err := resolve(definition, g, ok)
		if err != nil {
			problems = append(problems, fmt.Errorf("parameter %q: %w", definition.Name, err))
			continue
		}
		values[definition.Name] = value
	}
	for _, g := range given {
		if _, unknown := byName[g.Name]; unknown {
			delete(byName, g.Name)
			problems = append(problems, fmt.Errorf("parameter %q is not one of the template; it has %s", g.Name, names(definitions)))
		}
	}
	for name, text := range predefined {
		values[name] = Value{text: text, typed: text}
	}
	return values, errors.Join(problems...)
}

func names(definitions []tenancyv1alpha1.TemplateParameter) string {
	if len(definitions) == 0 {
		return "none"
	}
	var all []string
	for _, definition := range definitions {
		all = append(all, definition.Name)
	}
	return strings.Join(all, ", ")
}

func resolve(definition *tenancyv1alpha1.TemplateParameter, given Given, isGiven bool) (Value, error) {
	if isGiven {
		return check(definition, given)
	}
	if definition.Required {
		return Value{}, errors.New("is required and not given")
	}
	if definition.Default == nil {
		return empty(definition.Type)
	}
	value, err := check(definition, Given{Text: *definition.Default})
	if err != nil {
		return Value{}, fmt.Errorf("the template's own default does not fit: %w", err)
	}
	return value, nil
}

// empty is the value of what is neither given nor required. Patterns and options are not asked: there is nothing to check.
func empty(kind tenancyv1alpha1.ParameterType) (Value, error) {
	text := map[tenancyv1alpha1.ParameterType]string{
		tenancyv1alpha1.ParameterInteger: "0", tenancyv1alpha1.ParameterNumber: "0",
		tenancyv1alpha1.ParameterBoolean: "false", tenancyv1alpha1.ParameterQuantity: "0",
	}[kind]
	typed, err := parse(kind, text)
	return Value{text: text, typed: typed}, err
}

func check(definition *tenancyv1alpha1.TemplateParameter, given Given) (Value, error) {
	shown := shown(given)
	typed, err := parse(definition.Type, given.Text)
	if err != nil {
		return Value{}, fmt.Errorf("%s is no %s: %w", shown, definition.Type, err)
	}
	if definition.Pattern != "" {
		pattern, err := regexp.Compile(`\A(?:` + definition.Pattern + `)\z`)
		if err != nil {
			return Value{}, fmt.Errorf("the template's pattern cannot be read: %w", err)
		}
		if !pattern.MatchString(given.Text) {
			return Value{}, fmt.Errorf("%s does not match the pattern %s", shown, definition.Pattern)
		}
	}
	if len(definition.Options) > 0 && !slices.Contains(definition.Options, given.Text) {
		return Value{}, fmt.Errorf("%s is not one of %s", shown, strings.Join(definition.Options, ", "))
	}
	return Value{text: given.Text, typed: typed, secret: given.Secret, listed: len(definition.Options) > 0}, nil
}

func shown(given Given) string {
	if given.Secret {
		return "the value from the Secret"
	}
	if len(given.Text) > maxShown {
		return strconv.Quote(strings.ToValidUTF8(given.Text[:maxShown], "")) + "…"
	}
	return strconv.Quote(given.Text)
}

// The errors do not repeat the value: it may be secret.
func parse(kind tenancyv1alpha1.ParameterType, text string) (any, error) {
	switch kind {
	case tenancyv1alpha1.ParameterInteger:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || strings.HasPrefix(text, "+") {
			return nil, errors.New("write a whole number, such as 3")
		}
		return n, nil
	case tenancyv1alpha1.ParameterNumber:
		return parseNumber(text)
	case tenancyv1alpha1.ParameterBoolean:
		if text != "true" && text != "false" {
			return nil, errors.New("write true or false")
		}
		return text == "true", nil
	case tenancyv1alpha1.ParameterQuantity:
		if _, err := resource.ParseQuantity(text); err != nil || len(text) > 64 {
			return nil, errors.New("write an amount, such as 500m or 2Gi")
		}
		return text, nil
	case tenancyv1alpha1.ParameterString, "":
		if !isText(text) {
			return nil, errors.New("write text in UTF-8")
		}
		return text, nil
	}
	return nil, errors.New("the template names a type that is not known")
}

// parseNumber takes what JSON takes for a number, and no infinities.
func parseNumber(text string) (any, error) {
	errNumber := errors.New("write a number, such as 0.5")
	if text == "" || strings.ContainsAny(text, " \t\r\n") || !json.Valid([]byte(text)) || !strings.ContainsRune("-0123456789", rune(text[0])) {
		return nil, errNumber
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(n, 0) {
		return nil, errNumber
	}
	return n, nil
}

// isText tells whether JSON carries the text as it is.
func isText(text string) bool { return strings.ToValidUTF8(text, "") == text }

// Secrets are the texts that must not be shown to anybody.
func (v Values) Secrets() []string {
	var secrets []string
	for _, value := range v {
		if value.secret && value.text != "" {
			secrets = append(secrets, value.text)
		}
	}
	slices.Sort(secrets)
	return slices.Compact(secrets)
}

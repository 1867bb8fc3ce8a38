// Package parameter reads the values of a template's parameters and puts them into parsed objects.
//
// It is for data only: it knows no API server, no chart and no YAML. Its invariants: a value is put where a text stands in a
// tree that was parsed before, so that it can be no key, no further element and no further object, whatever it holds; nothing
// that came from a Secret appears in an error; what is unknown, missing or of a wrong form is an error and never left as it is;
// what replacing makes is bounded.
package parameter

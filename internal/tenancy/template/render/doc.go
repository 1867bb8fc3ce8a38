// Package render makes the objects of a template for one space.
//
// It is for what needs no host cluster: which templates belong together, values, charts, and the form of the objects. It knows
// neither which kinds there are nor who may write them. Invariants: what is rendered has a kind and a name, no namespace but the
// space's, and nothing in its metadata but labels and annotations; it is bounded in number and size; templates that include each
// other in a circle are refused; the error of a template that has values from Secrets does not show them.
package render

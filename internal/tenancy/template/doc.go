// Package template puts templates into spaces: the controller of TemplateInstances, and the one that gives a space the instances of
// its space templates before its people come in.
//
// It is not for rendering, which packages render, chart and parameter do, nor for the rights of a space's people. Invariants: objects
// are written by the space's own identity, which has the rights of its people, and those of space templates by one that has rights
// on few kinds, never with the agent's; every object of an instance has the instance as its owner, so that its end is the
// garbage collector's work and needs nobody's rights; an object that belongs to somebody else is not touched; nothing is written
// before the host has accepted all objects in a dry run, and what a failed first attempt has made is removed again; a value from a
// Secret appears in no status, log or error.
package template

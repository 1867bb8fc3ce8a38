// Package noun makes the commands that are the same for every kind of object: get, describe, create, edit and delete. A kind says
// in one place what is its own: names, columns, what its conditions mean.
//
// It is not for commands that do something else with an object, such as connect. Its invariants: a name that is given is read
// before anything is changed; what may not be listed is found by the rules of the user, so that everybody sees what is theirs
// with the same command; an object is never replaced as a whole.
package noun

// Package change makes commands that change one object by a merge patch and can wait for what comes of it.
//
// It is not for the editing of objects by people (noun). Its invariants: the object is read before anything is changed, and exactly
// that one is changed; what others change at the same time stays.
package change

// Package activity writes down that something happens to a virtual cluster or a space, for those who decide when it sleeps.
//
// Whoever sees requests tells it: the front door now, a gateway beside it. What it writes are the annotations of
// api/tenancy/v1alpha1, on any replica of the agent, whoever's the object is.
//
// Invariants: Active never waits and never fails; an object is written at most once in the time that it is told; what is
// remembered is bounded by the objects that there are.
package activity

// Package hostpace adapts how many calls the sync makes to the host at once to what the host's API server allows.
//
// There is no fixed rate: what a host can take is known to the host alone, by its priority and fairness, and differs with what
// else goes on there. An API server that has enough answers 429. Each such answer halves the number of calls that may run at
// once and holds new ones back for as long as the answer asks for; as long as none comes and all places are taken, the number
// grows by one at a time. It is not for watches, which are long calls, and not for the API servers of tenants, which have
// breakers of their own.
//
// Invariants:
//   - The number of calls that run at once is never above Limit, which stays between Options.Least and Options.Most.
//   - Calls wait in the order in which they came. They are fair to tenants because the queue of the engine is.
//   - Nobody waits here for longer than Options.MaxWait, and client-go repeats nothing while a worker waits for it: the key
//     comes again instead.
//   - What an object is answered with, by a webhook for example, slows down nobody but that object.
package hostpace

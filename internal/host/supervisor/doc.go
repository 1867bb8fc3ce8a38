// Package supervisor is the outer process of an embedded host: it stays in the machine's network namespace, makes the
// host's own, one for each node, and keeps containerd and the inner process running in each.
//
// What crosses the wall goes through it: the listeners on 127.0.0.1 that it opens and hands to the inner process, and the
// forwarder by which containerd pulls images. Its invariants: one supervisor per data folder, held by a lock; when it dies,
// however it dies, containerd and the inner process die with it, and the pods stay for the next one.
package supervisor

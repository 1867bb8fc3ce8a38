// Package endpointslice copies to the host the EndpointSlices of those tenant Services that have no selector.
//
// The slices of a Service with a selector are made on the host by the host's own controller, from host pods; they are
// none of this package's business. What is left is written by the tenant by hand (or mirrored by the tenant's control
// plane from Endpoints), so an address in it is whatever the tenant says.
//
// Invariants: a host slice names only addresses outside the host's pod, Service and node ranges, or addresses of the
// tenant's own running pods (see package hostranges); it belongs to a host Service of the same tenant without selector; it has
// no node name, zone, hint or target reference, since those are words of the host.
package endpointslice

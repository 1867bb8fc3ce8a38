// Package serviceaddress is the admission plugin that gives the Services of a tenant the addresses of the host.
//
// Before a Service is stored it asks the address door of the agent to reserve the Service on the host, and writes what
// the host allocated (cluster addresses and node ports) into the tenant's Service. It allocates nothing itself and
// copies nothing: the host Service is made by the door and taken over by the sync. Invariants:
//
//   - It runs after the mutating webhooks, so that it sees what will be stored, and before validation, so that a
//     reservation can be left over; the door lets those expire.
//   - It is idempotent: it runs again in retry loops and when a webhook asks for reinvocation, and asks the same.
//   - It chooses the name of a Service with generateName itself, because the API server would do so only afterwards.
//   - On update it first repeats what the API server does to keep allocated values, so that "kubectl replace" of the
//     original manifest changes no address, and it asks only when something is missing or newly wanted.
//   - default/kubernetes, headless Services and ExternalName need no host address and never leave the process.
package serviceaddress

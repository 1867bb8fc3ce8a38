package reference

import (
	"fmt"
	"slices"
	"strings"
)

// Reason is one of the events by which the sync tells something about an object.
type Reason struct{ Name, Means, Do string }

// Reasons are all reasons of events. A test compares them with the code.
var Reasons = []Reason{
	{"AddressNotAllowed", "an EndpointSlice names an address that is not of your own pods, or is the host's", "select pods, or name addresses outside of the cluster"},
	{"AddressTaken", "the host has given the addresses of this Service to another one", "delete the Service and make it again"},
	{"ClaimLost", "the host has lost this claim or its volume; it is never made again empty", "restore from a backup into a new claim"},
	{"EditedOnHost", "somebody on the host cluster has changed the copy of this object; it was put back", "ask the operator of the host, if it goes on"},
	{"HostPodVanished", "the pod has gone from the host and is ended", "nothing, if a controller makes it again"},
	{"HostRejected", "the host's API server does not take the copy: pod security, a webhook, a field that it does not know", "change what the message names"},
	{"HostTaken", "somebody else on this cluster uses this host name", "choose another"},
	{"HostUnschedulable", "the host finds no room on the node that your scheduler has chosen; or that the pod's author has written down, and then the pod has failed", "delete the pod to have it placed again"},
	{"LimitReached", "you have as much on the host as you may, or the object has too many labels", "delete some"},
	{"NameTaken", "the host has another object of this name, or you have one where a mirror should be", "choose another name"},
	{"NotApplied", "a part of what the object asks for is left out", "see the message; nothing, if you can do without"},
	{"NotShared", "the host does not share the object that `spec.sync.hostObjects` names", "ask the operator of the host"},
	{"NotSupported", "the object asks for something that a virtual cluster cannot have", "remove what the message names"},
	{"PeerNotAllowed", "a NetworkPolicy opens something that is not yours", "remove that peer"},
	{"SnapshotLost", "the host has lost this snapshot; it is not made again", "make a new one"},
	{"Waiting", "something that the object refers to does not exist", "make it; the object is tried again by itself"},
}

func writeReasons(page *strings.Builder) {
	page.WriteString("\n## Events\n\n| reason | what it means | what to do |\n|---|---|---|\n")
	reasons := slices.Clone(Reasons)
	slices.SortFunc(reasons, func(a, b Reason) int { return strings.Compare(a.Name, b.Name) })
	for _, reason := range reasons {
		fmt.Fprintf(page, "| `%s` | %s | %s |\n", reason.Name, reason.Means, reason.Do)
	}
}

package reference

// Kind is what users are told of a kind of the sync.
type Kind struct {
	// Name is that of the engine.Kind.
	Name string
	// Direction, How, Refused and Events are the columns of the table.
	Direction, How, Refused, Events string
}

const (
	down   = "down"
	up     = "from the host"
	both   = "down, status up"
	mirror = "a mirror with the label `matryoshka.dev/mirror`; what you change on it is put back, your own of other names live on"
)

// Kinds are all kinds of the sync.
var Kinds = []Kind{
	{"pod", both, "see below", "see below", "`Waiting`, `NotApplied`, `NotSupported`, `HostUnschedulable`"},
	{"configmap", down, "those that a pod on the host refers to", "names that begin with `matryoshka-`", "`NotSupported`"},
	{"secret", down, "those that a pod or an Ingress on the host refers to", "names that begin with `matryoshka-`", "`NotSupported`"},
	{"hostconfigmap", up, "a ConfigMap that `spec.sync.hostObjects` names, as a mirror", "what the host does not share", "`NameTaken`"},
	{"hostsecret", up, "a Secret that `spec.sync.hostObjects` names, as a mirror", "what the host does not share, tokens of the host", "`NameTaken`"},
	{"namespace", down, "a namespace of the host, with hashed labels", "", ""},
	{"service", both, "addresses and node ports are the host's", "`externalIPs` is ignored", "`NotSupported`"},
	{"endpointslice", down, "those of Services without selector", "addresses of the host and of others", "`AddressNotAllowed`"},
	{"ingress", both, "of classes of the host; the controllers are shared", "hosts of others, rules without host, most annotations", "`HostTaken`, `NotSupported`"},
	{"networkpolicy", down, "inside your virtual cluster and to the internet", "private blocks, labels that stay", "`PeerNotAllowed`, `NotSupported`"},
	{"poddisruptionbudget", down, "the number of pods that must stay", "labels that stay", "`NotSupported`"},
	{"persistentvolumeclaim", both, "a claim of the host, which provides the volume", "volumes and classes that are not offered", "`ClaimLost`, `NotSupported`"},
	{"persistentvolume", up, "what the host bound to a claim of yours", "those of others", ""},
	{"storageclass", up, mirror, "those that are not offered", ""},
	{"ingressclass", up, mirror, "those that are not offered", ""},
	{"runtimeclass", up, mirror, "those that are not offered; a pod that names one is refused", "`NotSupported` on the pod"},
	{"priorityclass", up, mirror, "those that are not offered; a pod that names one runs without", "`NotApplied` on the pod"},
	{"csidriver", up, mirror, "those that are not offered, what the host's nodes do with tokens", ""},
	{"csinode", up, mirror + "; beside each Node that you see", "drivers that are not offered, the driver's ID of the machine", ""},
	{"csistoragecapacity", up, "with `scheduling: tenant`, in `kube-system`: " + mirror, "those of nodes and classes that you do not see", ""},
	{"node", up, "all that you may use, or those with pods of yours; without what identifies the machine; with `scheduling: tenant` what others leave, and your labels, taints and extended resources beside the host's", "annotations, images, external addresses", ""},
	{"customresourcedefinition", up, "the host's definition of what `spec.sync.customResources` names", "those that the operator did not grant", ""},
	{"customresource", "down with status up, or from the host", "as it is; names do not change", "fields that name another namespace, cluster-scoped kinds but for classes that are known; of routes and snapshots see [custom resources](custom-resources.md)", "`NotSupported`, `Waiting`, `HostTaken`, `SnapshotLost`"},
	{"event", up, "events of the host about copies of your objects, with your names", "those that would tell of others", ""},
}

package report

// IDs of the rows, for those who measure them.
const (
	CreateUsable   = "create.usable"
	CreateAPI      = "create.api"
	DeletePods     = "delete.pods"
	DeleteObjects  = "delete.objects"
	DeleteAll      = "delete.namespaces"
	IdleMemory     = "idle.rssanon"
	IdlePodMemory  = "idle.pod"
	IdleCPU        = "idle.cpu"
	IdleOwnCPU     = "idle.cpu.own"
	IdleHostCPU    = "idle.cpu.host"
	AgentMemory    = "agent.memory"
	AgentCPU       = "agent.cpu"
	Awake          = "density.dedicated"
	Wake           = "wake.dedicated"
	AwakeMemory    = "density.memory"
	ServiceCall    = "service.call"
	ServiceFloor   = "service.call.host"
	ServiceLag     = "service.lag"
	ConfigMapLag   = "configmap.lag"
	ScaleReady     = "scale.ready"
	ScaleFairness  = "scale.fairness"
	ScaleRate      = "scale.rate"
	ScaleAgentCPU  = "scale.agent.cpu"
	ScaleAgentMem  = "scale.agent.memory"
	ScaleQuiet     = "scale.quiet.alone"
	ScaleBeside    = "scale.quiet.beside"
	ScaleToHost    = "scale.quiet.tohost"
	ScaleBound     = "scale.quiet.bound"
	ScaleRuns      = "scale.quiet.runs"
	ScaleToHome    = "scale.quiet.tohome"
	ScaleQuietMore = "scale.quiet.ratio"

	SpacesFew          = "accounts.spaces.few"
	SpacesMany         = "accounts.spaces.many"
	SpacesRate         = "accounts.spaces.rate"
	AccountAgentMemory = "accounts.agent.memory"
	AccountAgentCPU    = "accounts.agent.cpu"
)

// Loads of pods, and what is measured of each; see PodRow.
const (
	PodsSteady         = "pods.5s.simulated"
	PodsSteadyReal     = "pods.5s.real"
	PodsSteadyFloor    = "pods.5s.floor"
	PodsBurst          = "pods.burst.real"
	PodsBurstSimulated = "pods.burst.simulated"
	PodsBurstFloor     = "pods.burst.floor"

	ToHost      = "create"
	ReadyToHome = "ready"
)

// PodRow is the ID of what is measured of a load of pods: ToHost or ReadyToHome.
func PodRow(load, what string) string { return load + "." + what }

// Verbs are the calls whose latency is compared, in the order of their rows.
var Verbs = []string{"CREATE", "GET", "LIST", "PATCH", "DELETE"}

// APIRow is the ID of the comparison of one verb.
func APIRow(verb string) string { return "api." + verb }

const (
	seconds    = "s"
	millis     = "ms"
	mebibytes  = "MiB"
	millicores = "millicores"
	times      = "x"
)

func median(atMost float64) []Bound { return []Bound{{Of: Median, Value: atMost}} }

func both(median, p99 float64) []Bound {
	return []Bound{{Of: Median, Value: median}, {Of: P99, Value: p99}}
}

// Rows are all lines of the table, in their order. The budgets are those of the design.
func Rows() []Row {
	rows := lifecycleRows()
	rows = append(rows, idleRows()...)
	rows = append(rows, syncRows()...)
	for _, verb := range Verbs {
		rows = append(rows, Row{ID: APIRow(verb), What: "API latency in the tenant against the host: " + verb, Unit: times, Budget: median(1.15)})
	}
	rows = append(rows, scaleRows()...)
	return append(rows, accountRows()...)
}

func lifecycleRows() []Row {
	return []Row{
		{ID: CreateUsable, What: "create → API ready, default ServiceAccount and kubeconfig, dedicated", Unit: seconds, Budget: median(4)},
		{ID: CreateAPI, What: "of that: create → API ready", Unit: seconds},
		{ID: "create.packed", What: "create → usable, packed", Unit: seconds, Budget: median(1), IsNotBuilt: true},
		{ID: DeleteObjects, What: "delete → no host object but terminating namespaces", Unit: seconds, Budget: median(2)},
		{ID: DeletePods, What: "of that: delete → no pod left", Unit: seconds},
		{ID: DeleteAll, What: "delete → namespaces gone", Unit: seconds, Budget: median(7)},
		{ID: Wake, What: "wake from sleep → first request answered, dedicated", Unit: seconds, Budget: median(3)},
		{ID: "wake.packed", What: "wake from sleep → first request answered, packed", Unit: seconds, Budget: median(1), IsNotBuilt: true},
	}
}

func idleRows() []Row {
	return []Row{
		{ID: IdleMemory, What: "private memory (RssAnon) of an idle control plane, dedicated", Unit: mebibytes, Budget: median(100)},
		{ID: IdlePodMemory, What: "the same of its whole pod (cgroup)", Unit: mebibytes, Budget: median(100)},
		{ID: "idle.packed", What: "marginal memory of an idle control plane, packed", Unit: mebibytes, Budget: median(50), IsNotBuilt: true},
		{ID: IdleCPU, What: "CPU per idle virtual cluster, agent's share included", Unit: millicores, Budget: median(10)},
		{ID: IdleOwnCPU, What: "of that: the control plane", Unit: millicores},
		{ID: IdleHostCPU, What: "not in that: the embedded host, per idle virtual cluster", Unit: millicores},
		{ID: AgentMemory, What: "agent memory per extra idle tenant", Unit: mebibytes, Budget: median(6)},
		{ID: AgentCPU, What: "agent CPU per extra idle tenant", Unit: millicores},
		{ID: Awake, What: "awake idle virtual clusters, dedicated", Unit: "", Budget: []Bound{{Of: Median, Value: 60, AtLeast: true}}},
		{ID: AwakeMemory, What: "memory of the machine per awake idle virtual cluster", Unit: mebibytes},
		{ID: "density.packed", What: "awake idle virtual clusters, packed", Unit: "", Budget: []Bound{{Of: Median, Value: 100, AtLeast: true}}, IsNotBuilt: true},
	}
}

func syncRows() []Row {
	return []Row{
		{ID: PodRow(PodsSteadyFloor, ToHost), What: "floor: pod created on the host → seen, 5 pods/s", Unit: millis},
		{ID: PodRow(PodsSteady, ToHost), What: "tenant pod created → host pod seen, 5 pods/s, simulated node", Unit: millis, Budget: both(10, 20)},
		{ID: PodRow(PodsSteadyReal, ToHost), What: "tenant pod created → host pod seen, 5 pods/s, real node", Unit: millis, Budget: both(10, 20)},
		{ID: PodRow(PodsSteady, ReadyToHome), What: "host Ready → tenant Ready, 5 pods/s, simulated node", Unit: millis, Budget: both(4, 12)},
		{ID: PodRow(PodsSteadyReal, ReadyToHome), What: "host Ready → tenant Ready, 5 pods/s, real node", Unit: millis, Budget: both(4, 12)},
		{ID: PodRow(PodsBurstFloor, ToHost), What: "floor: burst of pods on the host, created → seen", Unit: millis},
		{ID: PodRow(PodsBurst, ToHost), What: "burst of pods with tokens: create → host pod, real node", Unit: millis, Budget: both(400, 1000)},
		{ID: PodRow(PodsBurstSimulated, ToHost), What: "burst of pods with tokens: create → host pod, simulated node", Unit: millis, Budget: both(400, 1000)},
		{ID: PodRow(PodsBurst, ReadyToHome), What: "burst of pods with tokens: host Ready → tenant Ready, real node", Unit: millis, Budget: both(20, 150)},
		{ID: PodRow(PodsBurstSimulated, ReadyToHome), What: "burst of pods with tokens: host Ready → tenant Ready, simulated node", Unit: millis, Budget: both(20, 150)},
		{ID: ServiceFloor, What: "Service create call on the host", Unit: millis},
		{ID: ServiceCall, What: "Service create call in the tenant", Unit: millis, Budget: median(20)},
		{ID: ServiceLag, What: "Service created in the tenant → seen on the host", Unit: millis},
		{ID: ConfigMapLag, What: "ConfigMap that a pod uses: patched → host copy changed", Unit: millis},
	}
}

func scaleRows() []Row {
	return []Row{
		{ID: ScaleReady, What: "many tenants, many pods on simulated nodes: create → Ready", Unit: seconds, Budget: []Bound{{Of: P99, Value: 8}}},
		{ID: ScaleFairness, What: "the slowest tenant's p99 against the median tenant's", Unit: times, Budget: median(2)},
		{ID: ScaleRate, What: "pods Ready per second over the run", Unit: "1/s"},
		{ID: ScaleAgentCPU, What: "agent CPU during the run", Unit: millicores},
		{ID: ScaleAgentMem, What: "agent memory (RssAnon) at the end of the run", Unit: mebibytes},
		{ID: ScaleQuiet, What: "a quiet tenant, 1 pod/s: create → Ready, alone", Unit: seconds},
		{ID: ScaleBeside, What: "the same while another tenant bursts", Unit: seconds},
		{ID: ScaleToHost, What: "of that: created → host pod", Unit: seconds},
		{ID: ScaleBound, What: "of that: host pod → the host's scheduler has bound it", Unit: seconds},
		{ID: ScaleRuns, What: "of that: bound → Ready on its simulated node", Unit: seconds},
		{ID: ScaleToHome, What: "of that: Ready there → Ready in the tenant", Unit: seconds},
		{ID: ScaleQuietMore, What: "the second p99 against the first", Unit: times, Budget: []Bound{{Of: P99, Value: 2}}},
	}
}

func accountRows() []Row {
	return []Row{
		{ID: SpacesFew, What: "space created → ready, the first quarter of many accounts", Unit: millis},
		{ID: SpacesMany, What: "space created → ready, the last half of them", Unit: millis},
		{ID: SpacesRate, What: "spaces ready per second over that half", Unit: "1/s"},
		{ID: AccountAgentMemory, What: "agent memory (RssAnon) per account with four spaces", Unit: mebibytes},
		{ID: AccountAgentCPU, What: "agent CPU with all of them idle, more than without any", Unit: millicores},
	}
}

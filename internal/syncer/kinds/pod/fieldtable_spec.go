package pod

// The notes that several fields share.
const (
	noteAddress   = "the variables of the API server come first, and what the host pod would answer differently is written in"
	noteRootCA    = "`kube-root-ca.crt` is `matryoshka-kube-root-ca.crt` on the host"
	noteMerged    = "the virtual cluster has merged it into the selector already"
	noteBundle    = "a file in the Secret of the pod, which the agent keeps up to date"
	noteNode      = "it reaches the node, or by it the disks and shares of others; carried at `podSecurity: privileged`"
	noteSettled   = "not with `scheduling: tenant`, where your scheduler has settled it"
	noteOverlaid  = "with `scheduling: tenant` without the extended resources that only you have given the node"
	noteNoDevices = "the host knows none of the virtual cluster's device claims"
)

const containerFields = "name image command args workingDir ports envFrom resources resizePolicy restartPolicy restartPolicyRules " +
	"volumeMounts volumeDevices livenessProbe readinessProbe startupProbe lifecycle terminationMessagePath terminationMessagePolicy " +
	"imagePullPolicy securityContext stdin stdinOnce tty"

// specGroups are the fields of the spec, but for volumes.
var specGroups = []fieldGroup{
	{of: "PodSpec", carried: "volumes initContainers containers ephemeralContainers restartPolicy terminationGracePeriodSeconds " +
		"activeDeadlineSeconds hostNetwork hostPID hostIPC shareProcessNamespace securityContext hostname " +
		"hostAliases readinessGates runtimeClassName enableServiceLinks os hostUsers resources", others: []Field{
		{Name: "nodeSelector", Decision: Carried, Note: noteSettled},
		{Name: "affinity", Decision: Carried, Note: noteSettled},
		{Name: "topologySpreadConstraints", Decision: Carried, Note: noteSettled},
		{Name: "dnsPolicy", Decision: Rewritten, Note: "`ClusterFirst` is `None` with the DNS of the virtual cluster in dnsConfig"},
		{Name: "dnsConfig", Decision: Rewritten, Note: "the DNS of the virtual cluster comes first; nameservers after the third are left out with an event"},
		{Name: "serviceAccountName", Decision: Rewritten, Note: "an account of the host without rights; the tokens are those of your account"},
		{Name: "serviceAccount", Decision: Dropped, Note: "the old name of serviceAccountName"},
		{Name: "automountServiceAccountToken", Decision: Rewritten, Note: "no token of the host; yours is mounted as a projected volume"},
		{Name: "nodeName", Decision: Rewritten, Note: "a node affinity, so that the host's scheduler still has its say; without room there the pod fails"},
		{Name: "imagePullSecrets", Decision: Carried, Note: "those that do not exist when the pod is made are left out with an event"},
		{Name: "subdomain", Decision: Rewritten, Note: "the DNS of the virtual cluster answers it"},
		{Name: "setHostnameAsFQDN", Decision: Rewritten, Note: "hostnameOverride with the full name; a name of more than 64 characters is refused"},
		{Name: "hostnameOverride", Decision: Carried},
		{Name: "schedulerName", Decision: Told, Note: "the host's scheduler chooses the node, unless `scheduling: tenant`"},
		{Name: "tolerations", Decision: Rewritten, Note: "those of the host's control plane are left out, and one of everything means the states of nodes; with an event"},
		{Name: "priorityClassName", Decision: Told, Note: "carried if the host offers a class of this name"},
		{Name: "priority", Decision: Dropped, Note: "the host works it out from the class"},
		{Name: "preemptionPolicy", Decision: Dropped, Note: "the host works it out from the class"},
		{Name: "overhead", Decision: Dropped, Note: "the host works it out from the RuntimeClass"},
		{Name: "schedulingGates", Decision: Dropped, Note: "the pod goes to the host when it has none left"},
		{Name: "resourceClaims", Decision: Refused, Note: noteNoDevices},
		{Name: "schedulingGroup", Decision: Refused, Note: "the host's scheduler does not know your groups"},
	}},
	{of: "Container", carried: containerFields, others: []Field{{Name: "env", Decision: Rewritten, Note: noteAddress}}},
	{of: "EphemeralContainer", carried: containerFields + " targetContainerName", others: []Field{{Name: "env", Decision: Rewritten, Note: noteAddress}}},
	{of: "ContainerPort", carried: "name hostPort containerPort protocol hostIP"},
	{of: "ContainerResizePolicy", carried: "resourceName restartPolicy"},
	{of: "ContainerRestartRule", carried: "action exitCodes"},
	{of: "ContainerRestartRuleOnExitCodes", carried: "operator values"},
	{of: "ResourceRequirements", carried: "claims", others: []Field{
		{Name: "limits", Decision: Carried, Note: noteOverlaid},
		{Name: "requests", Decision: Carried, Note: noteOverlaid},
	}},
	{of: "ResourceClaim", carried: "name request"},

	{of: "EnvVar", carried: "name value", others: []Field{{Name: "valueFrom", Decision: Rewritten}}},
	{of: "EnvVarSource", carried: "resourceFieldRef configMapKeyRef secretKeyRef fileKeyRef", others: []Field{
		{Name: "fieldRef", Decision: Replaced, Note: "the value, for what the host pod would answer differently: namespace, UID, account; a label or annotation is read from an annotation of the host pod that follows it; else carried"},
	}},
	{of: "ObjectFieldSelector", carried: "apiVersion fieldPath"},
	{of: "ResourceFieldSelector", carried: "containerName resource divisor"},
	{of: "FileKeySelector", carried: "volumeName path key optional"},
	{of: "ConfigMapKeySelector", carried: "key optional", others: []Field{{Name: "name", Decision: Rewritten, Note: noteRootCA}}},
	{of: "SecretKeySelector", carried: "name key optional"},
	{of: "EnvFromSource", carried: "prefix configMapRef secretRef"},
	{of: "ConfigMapEnvSource", carried: "optional", others: []Field{{Name: "name", Decision: Rewritten, Note: noteRootCA}}},
	{of: "SecretEnvSource", carried: "name optional"},

	{of: "Probe", carried: "exec httpGet tcpSocket grpc initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold terminationGracePeriodSeconds"},
	{of: "Lifecycle", carried: "postStart preStop stopSignal"},
	{of: "LifecycleHandler", carried: "exec httpGet tcpSocket sleep"},
	{of: "ExecAction", carried: "command"},
	{of: "HTTPGetAction", carried: "path port host scheme httpHeaders"},
	{of: "HTTPHeader", carried: "name value"},
	{of: "TCPSocketAction", carried: "port host"},
	{of: "GRPCAction", carried: "port service"},
	{of: "SleepAction", carried: "seconds"},

	{of: "PodSecurityContext", carried: "seLinuxOptions windowsOptions runAsUser runAsGroup runAsNonRoot supplementalGroups " +
		"supplementalGroupsPolicy fsGroup sysctls fsGroupChangePolicy seccompProfile appArmorProfile seLinuxChangePolicy"},
	{of: "SecurityContext", carried: "capabilities privileged seLinuxOptions windowsOptions runAsUser runAsGroup runAsNonRoot " +
		"readOnlyRootFilesystem allowPrivilegeEscalation procMount seccompProfile appArmorProfile"},
	{of: "Capabilities", carried: "add drop"},
	{of: "SELinuxOptions", carried: "user role type level"},
	{of: "WindowsSecurityContextOptions", carried: "gmsaCredentialSpecName gmsaCredentialSpec runAsUserName hostProcess"},
	{of: "SeccompProfile", carried: "type localhostProfile"},
	{of: "AppArmorProfile", carried: "type localhostProfile"},
	{of: "Sysctl", carried: "name value"},

	{of: "LocalObjectReference", carried: "name"},
	{of: "HostAlias", carried: "ip hostnames"},
	{of: "PodOS", carried: "name"},
	{of: "PodReadinessGate", carried: "conditionType"},
	{of: "PodDNSConfig", others: []Field{
		{Name: "nameservers", Decision: Rewritten}, {Name: "searches", Decision: Rewritten}, {Name: "options", Decision: Rewritten, Note: "`ndots:5` unless the pod has its own"},
	}},
	{of: "PodDNSConfigOption", carried: "name value"},
	{of: "Toleration", carried: "operator value effect tolerationSeconds", others: []Field{{Name: "key", Decision: Carried, Note: "an empty key is those of the states of nodes"}}},

	{of: "Affinity", carried: "nodeAffinity podAffinity podAntiAffinity"},
	{of: "NodeAffinity", carried: "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution"},
	{of: "NodeSelector", carried: "nodeSelectorTerms"},
	{of: "NodeSelectorTerm", others: []Field{
		{Name: "matchExpressions", Decision: Rewritten, Note: "with the nodes that the virtual cluster may use"},
		{Name: "matchFields", Decision: Rewritten, Note: "with the node of spec.nodeName"},
	}},
	{of: "NodeSelectorRequirement", carried: "key operator values"},
	{of: "PreferredSchedulingTerm", carried: "weight preference"},
	{of: "PodAffinity", carried: "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution"},
	{of: "PodAntiAffinity", carried: "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution"},
	{of: "WeightedPodAffinityTerm", carried: "weight podAffinityTerm"},
	{of: "PodAffinityTerm", carried: "labelSelector topologyKey", others: []Field{
		{Name: "namespaces", Decision: Rewritten, Note: "the host's namespaces of yours"},
		{Name: "namespaceSelector", Decision: Rewritten, Note: "selects among your namespaces only"},
		{Name: "matchLabelKeys", Decision: Dropped, Note: noteMerged},
		{Name: "mismatchLabelKeys", Decision: Dropped, Note: noteMerged},
	}},
	{
		of: "TopologySpreadConstraint", carried: "maxSkew topologyKey whenUnsatisfiable labelSelector minDomains nodeAffinityPolicy nodeTaintsPolicy",
		others: []Field{{Name: "matchLabelKeys", Decision: Dropped, Note: noteMerged}},
	},
}

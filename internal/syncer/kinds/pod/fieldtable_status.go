package pod

// statusGroups are the fields of the status.
var statusGroups = []fieldGroup{
	{of: "PodStatus", carried: "phase reason hostIP hostIPs podIP podIPs startTime initContainerStatuses containerStatuses " +
		"ephemeralContainerStatuses resize allocatedResources resources", others: []Field{
		{Name: "conditions", Decision: Rewritten, Note: "those of readiness gates go down, all others up; yours stay"},
		{Name: "message", Decision: Rewritten, Note: "with your names in place of the host's"},
		{Name: "observedGeneration", Decision: Rewritten, Note: "the generation of your pod"},
		{Name: "qosClass", Decision: Own},
		{Name: "nominatedNodeName", Decision: Own},
		{Name: "resourceClaimStatuses", Decision: Own},
		{Name: "extendedResourceClaimStatus", Decision: Own},
		{Name: "nodeAllocatableResourceClaimStatuses", Decision: Own},
	}},
	{of: "PodCondition", carried: "type status lastProbeTime lastTransitionTime reason", others: []Field{
		{Name: "observedGeneration", Decision: Rewritten, Note: "the generation of your pod"},
		{Name: "message", Decision: Rewritten, Note: "with your names in place of the host's"},
	}},
	{of: "HostIP", carried: "ip"},
	{of: "PodIP", carried: "ip"},
	{of: "ContainerStatus", carried: "name state lastState ready restartCount image imageID containerID started allocatedResources resources " +
		"volumeMounts user allocatedResourcesStatus stopSignal"},
	{of: "ContainerState", carried: "waiting running terminated"},
	{of: "ContainerStateWaiting", carried: "reason", others: []Field{{Name: "message", Decision: Rewritten, Note: "with your names in place of the host's"}}},
	{of: "ContainerStateRunning", carried: "startedAt"},
	{of: "ContainerStateTerminated", carried: "exitCode signal reason message startedAt finishedAt containerID"},
	{of: "ContainerUser", carried: "linux"},
	{of: "LinuxContainerUser", carried: "uid gid supplementalGroups"},
	{of: "VolumeMountStatus", carried: "name mountPath readOnly recursiveReadOnly volumeStatus"},
	{of: "VolumeStatus", carried: "image"},
	{of: "ImageVolumeStatus", carried: "imageRef"},
	{of: "ResourceStatus", carried: "name resources"},
	{of: "ResourceHealth", carried: "resourceID health message"},
}

package pod

// volumeGroups are the fields of volumes.
var volumeGroups = []fieldGroup{
	{of: "VolumeMount", carried: "name readOnly recursiveReadOnly mountPath subPath mountPropagation subPathExpr"},
	{of: "VolumeDevice", carried: "name devicePath"},
	{of: "Volume", carried: "name emptyDir secret persistentVolumeClaim configMap projected image", others: append([]Field{
		{Name: "ephemeral", Decision: Own, Note: "the claim that your own controller makes is mounted"},
		{Name: "downwardAPI", Decision: Replaced, Note: "a projected volume, for what the host pod would answer differently; else carried"},
	}, ofTheNode("hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd", "flexVolume", "cinder",
		"cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk", "portworxVolume", "scaleIO",
		"storageos", "csi")...)},
	{of: "EmptyDirVolumeSource", carried: "medium sizeLimit"},
	{of: "SecretVolumeSource", carried: "secretName items defaultMode optional"},
	{of: "KeyToPath", carried: "key path mode"},
	{of: "PersistentVolumeClaimVolumeSource", carried: "claimName readOnly"},
	{of: "ConfigMapVolumeSource", carried: "items defaultMode optional", others: []Field{{Name: "name", Decision: Rewritten, Note: noteRootCA}}},
	{of: "ImageVolumeSource", carried: "reference pullPolicy"},
	{of: "DownwardAPIVolumeSource", carried: "items defaultMode"},
	{of: "DownwardAPIVolumeFile", carried: "path fieldRef resourceFieldRef mode"},
	{of: "ProjectedVolumeSource", carried: "defaultMode", others: []Field{{Name: "sources", Decision: Rewritten}}},
	{of: "VolumeProjection", carried: "secret configMap", others: []Field{
		{Name: "serviceAccountToken", Decision: Replaced, Note: noteBundle},
		{Name: "downwardAPI", Decision: Replaced, Note: noteBundle + ", for what the host pod would answer differently; else carried"},
		{Name: "clusterTrustBundle", Decision: Refused, Note: "it would be the host's"},
		{Name: "podCertificate", Decision: Refused, Note: "it would be of the host's signers, for the host pod"},
	}},
	{of: "SecretProjection", carried: "name items optional"},
	{of: "ConfigMapProjection", carried: "name items optional"},
	{of: "DownwardAPIProjection", carried: "items"},
	{of: "ServiceAccountTokenProjection", carried: "audience expirationSeconds path"},
}

func ofTheNode(names ...string) []Field {
	fields := make([]Field, 0, len(names))
	for _, name := range names {
		fields = append(fields, Field{Name: name, Decision: Refused, Note: noteNode})
	}
	return fields
}

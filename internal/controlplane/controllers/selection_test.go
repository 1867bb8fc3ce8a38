package controllers

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSelection is the list of what runs in a tenant. A new Kubernetes that adds a controller fails it, so that
// somebody decides whether the host does that work.
func TestSelection(t *testing.T) {
	want := []string{
		"certificatesigningrequest-approving-controller", "certificatesigningrequest-cleaner-controller",
		"certificatesigningrequest-signing-controller", "clusterrole-aggregation-controller", "cronjob-controller",
		"daemonset-controller", "deployment-controller", "device-taint-eviction-controller", "disruption-controller",
		"endpoints-controller", "endpointslice-controller", "endpointslice-mirroring-controller", "ephemeral-volume-controller",
		"garbage-collector-controller", "horizontal-pod-autoscaler-controller", "job-controller",
		"kube-apiserver-serving-clustertrustbundle-publisher-controller", "legacy-serviceaccount-token-cleaner-controller",
		"namespace-controller", "persistentvolume-protection-controller", "persistentvolumeclaim-protection-controller",
		"pod-garbage-collector-controller", "podcertificaterequest-cleaner-controller", "podgroup-protection-controller",
		"replicaset-controller", "replicationcontroller-controller", "resourceclaim-controller",
		"resourcepoolstatusrequest-controller", "resourcequota-controller", "root-ca-certificate-publisher-controller",
		"service-cidr-controller", "serviceaccount-controller", "statefulset-controller",
		"storage-version-migrator-controller", "storageversion-garbage-collector-controller", "taint-eviction-controller",
		"ttl-after-finished-controller", "volumeattributesclass-protection-controller",
	}
	got := slices.Sorted(maps.Keys(selected()))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

package accountquota

import (
	"strings"
	"testing"
)

func TestAmounts(t *testing.T) {
	for _, good := range [][2]string{
		{"cpu", "500m"},
		{"requests.cpu", "2"},
		{"limits.memory", "4Gi"},
		{"limits.memory", "1.5Gi"},
		{"requests.storage", "0.5Ti"},
		{"pods", "1e2"},
		{"requests.storage", "0"},
		{"pods", "20"},
		{"pods", "2k"},
		{"count/deployments.apps", "3"},
		{"count/secrets", "3"},
		{"services.loadbalancers", "0"},
		{"fast.storageclass.storage.k8s.io/requests.storage", "10Gi"},
		{"fast.storageclass.storage.k8s.io/persistentvolumeclaims", "2"},
		{"hugepages-2Mi", "1Gi"},
		{"requests.hugepages-1Gi", "4Gi"},
		{"requests.nvidia.com/gpu", "1"},
		{"gpu.example.com.deviceclass.resource.k8s.io/devices", "1"},
	} {
		if err := checkAmount(good[0], good[1]); err != nil {
			t.Errorf("%s=%s: %v", good[0], good[1], err)
		}
	}
	for name, c := range map[string]struct{ resource, amount, says string }{
		"unit of the trade":      {"requests.memory", "4GB", "4Gi"},
		"word":                   {"cpu", "two", "not a quantity"},
		"nothing":                {"cpu", "", "not a quantity"},
		"negative":               {"requests.cpu", "-1", "negative"},
		"half an object":         {"count/secrets", "1500m", "whole number"},
		"half a byte":            {"requests.memory", "500m", "whole number"},
		"what holds it":          {"resourcequotas", "5", "held by"},
		"mistyped":               {"reqests.cpu", "1", `"requests.cpu"`},
		"another spelling":       {"Pods", "1", `"pods"`},
		"nothing near":           {"turnips", "1", "count/RESOURCE.GROUP"},
		"count of nothing":       {"count/", "1", "counts nothing"},
		"huge pages of no size":  {"hugepages-big", "1", "no resource"},
		"device without request": {"nvidia.com/gpu", "1", "no resource"},
		"storage of no class":    {".storageclass.storage.k8s.io/requests.storage", "1Gi", "no resource"},
		"storage of what":        {"fast.storageclass.storage.k8s.io/pods", "1", "no resource"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := checkAmount(c.resource, c.amount); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s=%s: error %v, want one with %q", c.resource, c.amount, err, c.says)
			}
		})
	}
}

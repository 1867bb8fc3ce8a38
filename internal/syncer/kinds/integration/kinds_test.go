package integration

import "testing"

// TestKinds uses one pair of API servers for everything: starting them is what costs. Each test has its own namespace.
func TestKinds(t *testing.T) {
	w := newWorld(t)
	w.prepareHost(t)
	w.besideVirtualCluster(t)
	stop := w.run(t)
	t.Run("kind", func(t *testing.T) { runAll(t, w) })
	t.Run("edits on both sides converge", func(t *testing.T) { testConvergence(t, w) })
	t.Run("a second look writes nothing", func(t *testing.T) { testSecondLook(t, w, stop) })
}

func runAll(t *testing.T, w *world) {
	for name, test := range map[string]func(*testing.T, *world){
		"service takes a reservation over": testReservation,
		"service status and repair":        testServiceRepair,
		"service types":                    testServiceTypes,
		"service of the host's own":        testForeignService,
		"service address is taken":         testAddressTaken,
		"service successor":                testServiceSuccessor,
		"endpoint slices":                  testEndpointSlices,
		"endpoint slices attack":           testEndpointSliceAttacks,
		"storage classes":                  testStorageClasses,
		"claim is bound, grows and goes":   testClaim,
		"claim is lost":                    testClaimLost,
		"claim is bound again":             testClaimRestored,
		"claim attacks":                    testClaimAttacks,
		"volume mirrors cannot be edited":  testVolumeMirror,
		"events":                           testEvents,
		"network policies":                 testNetworkPolicies,
		"ingress":                          testIngress,
		"ingress hosts":                    testIngressHosts,
		"ingress attacks":                  testIngressAttacks,
		"classes":                          testClasses,
		"hidden classes":                   testHiddenClasses,
		"objects of the host":              testHostObjects,
		"hostile wishes for objects":       testHostObjectAttacks,
		"storage drivers":                  testDrivers,
		"storage drivers of nodes":         testCSINodes,
		"storage capacities":               testCapacities,
		"disruption budgets":               testBudgets,
		"the agent's policy on volumes":    testVolumePolicy,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

package integration

import (
	"fmt"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// testPace: a host that gives the agent few places turns calls away; the agent asks less at once, everything gets to the
// host all the same, and the agent asks more again when it may. The engine must run with a pace of quick steps.
func testPace(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "paced")
	flows := kubernetes.NewForConfigOrDie(w.hostConfig).FlowcontrolV1()
	level, err := flows.PriorityLevelConfigurations().Create(t.Context(), &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "tight"},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: pointer(int32(1)), LendablePercent: pointer(int32(0)), BorrowingLimitPercent: pointer(int32(0)),
				LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = flows.FlowSchemas().Create(t.Context(), &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: "tight"},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: level.Name},
			MatchingPrecedence:         10,
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: agentUser}}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, Namespaces: []string{"*"}, ClusterScope: true,
				}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}

	made, least := 0, w.pace.Limit()
	eventually(t, "the host turns calls away", func() error {
		var group sync.WaitGroup
		for range 40 { // at once: one after the other they may come slowly enough for the host
			made++
			service := newService("paced", fmt.Sprintf("web-%d", made), fmt.Sprintf("10.96.%d.%d", 80+made/200, made%200+1))
			group.Go(func() {
				if err := w.virtual.Create(t.Context(), service); err != nil {
					t.Errorf("create a Service: %v", err)
				}
			})
		}
		group.Wait()
		least = min(least, w.pace.Limit())
		return expect(w.pace.Throttled() > 0, "%d Services are made and none was turned away; limit %d", made, least)
	})
	eventually(t, "all Services get to the host", func() error {
		least = min(least, w.pace.Limit())
		list := &corev1.ServiceList{}
		if err := w.host.List(t.Context(), list, client.InNamespace(hostNamespace)); err != nil {
			return err
		}
		return expect(len(list.Items) == made, "%d of %d", len(list.Items), made)
	})
	if mine := 16; least > mine/2 { // no more of a tenant's keys are worked on at once
		t.Errorf("the limit fell no further than to %d", least)
	}
	w.awaitMetric(t, "matryoshka_sync_host_throttled_total{}", 1)
	w.awaitMetric(t, `matryoshka_sync_errors_total{cause="throttled",kind="service"}`, 1)

	much := []byte(`{"spec":{"limited":{"nominalConcurrencyShares":100000}}}`)
	if _, err := flows.PriorityLevelConfigurations().Patch(t.Context(), level.Name, types.MergePatchType, much, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	fallen, round := w.pace.Limit(), 0
	eventually(t, "the limit comes back", func() error {
		round++
		var group sync.WaitGroup
		for writer := range 8 {
			group.Go(func() {
				for index := writer; index < 40; index += 8 {
					label := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{"team":"round-%d"}}}`, round))
					if err := w.virtual.Patch(t.Context(), named(&corev1.Service{}, client.ObjectKey{Namespace: "paced", Name: fmt.Sprintf("web-%d", index+1)}), label); err != nil {
						t.Errorf("label a Service: %v", err)
					}
				}
			})
		}
		group.Wait()
		limit := w.pace.Limit()
		return expect(limit >= fallen+2, "it is %d after %d; %d calls were turned away", limit, fallen, w.pace.Throttled())
	})
	for index := range 40 {
		await(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: fmt.Sprintf("web-%d", index+1)}, &corev1.Service{}, func(hostService *corev1.Service) error {
			return expect(hostService.Labels["team"] == fmt.Sprintf("round-%d", round), "labels %v", hostService.Labels)
		})
	}
	t.Logf("%d Services, %d calls turned away, limit down to %d, then from %d to %d", made, w.pace.Throttled(), least, fallen, w.pace.Limit())
}

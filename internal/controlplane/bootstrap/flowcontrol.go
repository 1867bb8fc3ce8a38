package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	flowcontrolbootstrap "k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/ensurer"
)

// How often the flow schemas that the API server must have are looked after, as upstream.
const flowControlInterval = time.Minute

// FlowControl keeps the default flow schemas and priority levels until the context ends, and calls ready when they are
// there for the first time. The informers must be running.
func FlowControl(ctx context.Context, client kubernetes.Interface, factory informers.SharedInformerFactory, ready func()) {
	f := newFlowControl(client, factory)
	if !cache.WaitForCacheSync(ctx.Done(), f.synced...) {
		return
	}
	retry := wait.PollUntilContextCancel(ctx, retryInterval, true, func(ctx context.Context) (bool, error) {
		return f.ensure(ctx) == nil, nil
	})
	if retry != nil {
		return
	}
	ready()
	// What a tenant deletes comes back within the interval; until then the API server uses its built-in ones.
	wait.UntilWithContext(ctx, func(ctx context.Context) { _ = f.ensure(ctx) }, flowControlInterval)
}

type flowControl struct {
	levels  ensurer.ObjectOps[*flowcontrolv1.PriorityLevelConfiguration]
	schemas ensurer.ObjectOps[*flowcontrolv1.FlowSchema]
	synced  []cache.InformerSynced
}

func newFlowControl(client kubernetes.Interface, factory informers.SharedInformerFactory) *flowControl {
	levels, schemas := factory.Flowcontrol().V1().PriorityLevelConfigurations(), factory.Flowcontrol().V1().FlowSchemas()
	return &flowControl{
		levels:  ensurer.NewPriorityLevelConfigurationOps(client.FlowcontrolV1().PriorityLevelConfigurations(), levels.Lister()),
		schemas: ensurer.NewFlowSchemaOps(client.FlowcontrolV1().FlowSchemas(), schemas.Lister()),
		synced:  []cache.InformerSynced{levels.Informer().HasSynced, schemas.Informer().HasSynced},
	}
}

// ensure does what upstream's hook does, in its order: suggested, mandatory, what is no longer known.
func (f *flowControl) ensure(ctx context.Context) error {
	if err := ensurer.EnsureConfigurations(ctx, f.levels, flowcontrolbootstrap.SuggestedPriorityLevelConfigurations,
		ensurer.NewSuggestedEnsureStrategy[*flowcontrolv1.PriorityLevelConfiguration]()); err != nil {
		return fmt.Errorf("ensure suggested priority levels: %w", err)
	}
	if err := ensurer.EnsureConfigurations(ctx, f.schemas, flowcontrolbootstrap.SuggestedFlowSchemas,
		ensurer.NewSuggestedEnsureStrategy[*flowcontrolv1.FlowSchema]()); err != nil {
		return fmt.Errorf("ensure suggested flow schemas: %w", err)
	}
	if err := ensurer.EnsureConfigurations(ctx, f.levels, flowcontrolbootstrap.MandatoryPriorityLevelConfigurations,
		ensurer.NewMandatoryEnsureStrategy[*flowcontrolv1.PriorityLevelConfiguration]()); err != nil {
		return fmt.Errorf("ensure mandatory priority levels: %w", err)
	}
	if err := ensurer.EnsureConfigurations(ctx, f.schemas, flowcontrolbootstrap.MandatoryFlowSchemas,
		ensurer.NewMandatoryEnsureStrategy[*flowcontrolv1.FlowSchema]()); err != nil {
		return fmt.Errorf("ensure mandatory flow schemas: %w", err)
	}
	schemas := slices.Concat(flowcontrolbootstrap.MandatoryFlowSchemas, flowcontrolbootstrap.SuggestedFlowSchemas)
	if err := ensurer.RemoveUnwantedObjects(ctx, f.schemas, schemas); err != nil {
		return fmt.Errorf("remove old flow schemas: %w", err)
	}
	levels := slices.Concat(flowcontrolbootstrap.MandatoryPriorityLevelConfigurations, flowcontrolbootstrap.SuggestedPriorityLevelConfigurations)
	if err := ensurer.RemoveUnwantedObjects(ctx, f.levels, levels); err != nil {
		return fmt.Errorf("remove old priority levels: %w", err)
	}
	return nil
}

// Package scheduler runs upstream's kube-scheduler for one tenant in the process of its API server.
//
// It has the default profile, no leader election, no server and nothing process-wide. Invariant: Run returns only when
// the scheduler has ended.
package scheduler

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	upstream "k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	"k8s.io/kubernetes/pkg/scheduler/profile"
)

// Config of a scheduler.
type Config struct {
	// Client of the tenant's API server, with all rights.
	Client *rest.Config
	// Started is called when the caches have synced. It may be nil.
	Started func()
}

// Run schedules pods until the context ends. The API server must answer already.
func Run(ctx context.Context, c Config) error {
	clientConfig := rest.AddUserAgent(rest.CopyConfig(c.Client), "kube-scheduler")
	client, err := kubernetes.NewForConfig(clientConfig)
	if err != nil {
		return fmt.Errorf("create the scheduler's client: %w", err)
	}
	defaults, err := latest.Default()
	if err != nil {
		return fmt.Errorf("default the scheduler's configuration: %w", err)
	}
	informers := upstream.NewInformerFactory(client, 0)
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()})
	defer broadcaster.Shutdown()
	s, err := upstream.New(ctx, client, informers, nil, profile.NewRecorderFactory(broadcaster),
		upstream.WithComponentConfigVersion(defaults.APIVersion),
		upstream.WithKubeConfig(clientConfig),
		upstream.WithProfiles(defaults.Profiles...),
		upstream.WithPercentageOfNodesToScore(defaults.PercentageOfNodesToScore),
		upstream.WithPodInitialBackoffSeconds(defaults.PodInitialBackoffSeconds),
		upstream.WithPodMaxBackoffSeconds(defaults.PodMaxBackoffSeconds),
		upstream.WithPodMaxInUnschedulablePodsDuration(5*time.Minute),
		upstream.WithParallelism(defaults.Parallelism),
	)
	if err != nil {
		return fmt.Errorf("create the scheduler: %w", err)
	}
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return fmt.Errorf("start the scheduler's events: %w", err)
	}
	informers.Start(ctx.Done())
	defer informers.Shutdown()
	informers.WaitForCacheSync(ctx.Done())
	if err := s.WaitForHandlersSync(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("sync the scheduler: %w", err)
	}
	if c.Started != nil {
		c.Started()
	}
	s.Run(ctx)
	return nil
}

package shards

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// watchPeriod is after how long a watch is begun anew.
	watchPeriod = 5 * time.Minute
	// watchPause is how long after its end.
	watchPause = time.Second
)

// watch keeps the view up to date until the context ends. It is what makes a replica act soon; what counts is read again
// before it does.
func (s *Shards) watch(ctx context.Context) {
	for {
		if err := s.watchOnce(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("Watch of the Leases of replicas ended", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchPause):
		}
	}
}

func (s *Shards) watchOnce(ctx context.Context) error {
	version, err := s.refresh(ctx)
	if err != nil {
		return err
	}
	seconds := int64(watchPeriod / time.Second)
	watching, cancel := context.WithTimeout(ctx, watchPeriod+callTimeout)
	defer cancel()
	events, err := s.client.Watch(watching, metav1.ListOptions{
		LabelSelector: labelRole, ResourceVersion: version, TimeoutSeconds: &seconds,
	})
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer events.Stop()
	for {
		select {
		case <-watching.Done():
			return nil
		case event, ok := <-events.ResultChan():
			if !ok {
				return nil
			}
			if event.Type == watch.Error {
				return apierrors.FromObject(event.Object)
			}
			if lease, ok := event.Object.(*coordinationv1.Lease); ok {
				s.view.seeEvent(event.Type, lease)
			}
		}
	}
}

// Package notice tells the owner of a space or a virtual cluster, in an event, what is about to happen to it.
//
// It is for what is rare and matters: it counts nothing and bounds nothing. The state of an object is in its conditions; an event that is lost is no harm.
package notice

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// component is who says it.
const component = "matryoshka-agent"

// Tell writes an event about an object into a namespace that its owner can read: its own, or that of a space.
func Tell(ctx context.Context, host client.Client, object client.Object, namespace, eventType, reason, message string) error {
	kind, err := apiutil.GVKForObject(object, host.Scheme())
	if err != nil {
		return fmt.Errorf("find the kind of %T: %w", object, err)
	}
	now := metav1.NewTime(time.Now()) // that of the host's other events, whatever clock decides
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: object.GetName() + "."},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: kind.GroupVersion().String(), Kind: kind.Kind, Namespace: namespace,
			Name: object.GetName(), UID: object.GetUID(), ResourceVersion: object.GetResourceVersion(),
		},
		Type: eventType, Reason: reason, Message: message, Count: 1, FirstTimestamp: now, LastTimestamp: now,
		Source: corev1.EventSource{Component: component}, ReportingController: component,
	}
	if err := host.Create(ctx, event); err != nil {
		return fmt.Errorf("write an event about %s %q: %w", kind.Kind, object.GetName(), err)
	}
	return nil
}

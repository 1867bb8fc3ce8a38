package event

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// subject is the tenant object that an event is about.
type subject struct {
	namespace string
	name      string
	uid       types.UID
	// nodeName is the node of a pod. The tenant knows it.
	nodeName string
}

// isOurs tells whether the agent wrote a host event itself.
func isOurs(hostEvent *corev1.Event) bool {
	return hostEvent.Source.Component == engine.FieldManager || hostEvent.ReportingController == engine.FieldManager
}

// isAbout tells whether events about objects of this kind are copied.
func isAbout(reference corev1.ObjectReference) bool {
	switch reference.Kind {
	case "Pod", "PersistentVolumeClaim", "Service":
		return reference.APIVersion == "v1" || reference.APIVersion == ""
	}
	return false
}

// translate is the tenant's form of a host event.
func translate(hostEvent *corev1.Event, about subject, scrub func(string) string) *corev1.Event {
	virtualEvent := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: about.namespace,
			Name:      hostEvent.Name,
			Labels:    map[string]string{mapping.LabelMirror: "true"},
		},
		InvolvedObject: corev1.ObjectReference{
			Kind:       hostEvent.InvolvedObject.Kind,
			APIVersion: "v1",
			Namespace:  about.namespace,
			Name:       about.name,
			UID:        about.uid,
			FieldPath:  hostEvent.InvolvedObject.FieldPath,
		},
		Reason:              hostEvent.Reason,
		Message:             scrub(hostEvent.Message),
		Source:              corev1.EventSource{Component: hostEvent.Source.Component},
		FirstTimestamp:      hostEvent.FirstTimestamp,
		LastTimestamp:       hostEvent.LastTimestamp,
		Count:               hostEvent.Count,
		Type:                hostEvent.Type,
		EventTime:           hostEvent.EventTime,
		Series:              hostEvent.Series.DeepCopy(),
		Action:              hostEvent.Action,
		ReportingController: hostEvent.ReportingController,
	}
	// Who reports is a process of the host: its name is that of a machine. The node of its own pod a tenant knows.
	if hostEvent.Source.Host == about.nodeName {
		virtualEvent.Source.Host = about.nodeName
	}
	switch hostEvent.ReportingInstance {
	case "":
	case about.nodeName:
		virtualEvent.ReportingInstance = about.nodeName
	default:
		virtualEvent.ReportingInstance = hostEvent.ReportingController
	}
	return virtualEvent
}

// isMirror tells whether an event in the tenant is the agent's to write.
func isMirror(virtualEvent *corev1.Event) bool {
	return virtualEvent.Labels[mapping.LabelMirror] == "true"
}

// isUpToDate tells whether the tenant's event already says what the host's says.
func isUpToDate(have, want *corev1.Event) bool {
	return have.Count == want.Count && have.Message == want.Message && have.Type == want.Type &&
		have.LastTimestamp.Equal(&want.LastTimestamp) && equality.Semantic.DeepEqual(have.Series, want.Series)
}

// raise brings what a repetition changes into the event that is there.
func raise(have, want *corev1.Event) *corev1.Event {
	raised := have.DeepCopy()
	raised.Count = want.Count
	raised.Message = want.Message
	raised.Type = want.Type
	raised.LastTimestamp = want.LastTimestamp
	raised.Series = want.Series
	return raised
}

package engine

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// cause is what a key was woken for and that has not been brought to the other side yet. It is there for the metrics and for the
// queue's order: what is done with a key does not depend on it. The zero value says that no watch has woken the key, as after a sweep.
type cause struct {
	// virtual and host are when the agent first saw the change of that side; zero means none.
	virtual, host time.Time
	// copyOf is the tenant object whose host copy came, was changed or went away; isEdited says that it was changed.
	copyOf   types.UID
	isEdited bool
}

// and is both causes: the lag counts from the older change.
func (c cause) and(other cause) cause {
	c.virtual, c.host = older(c.virtual, other.virtual), older(c.host, other.host)
	c.isEdited = c.isEdited || other.isEdited
	if other.copyOf != "" {
		c.copyOf = other.copyOf
	}
	return c
}

// ofAnother is the cause for a key that the changed object is not the copy of.
func (c cause) ofAnother() cause {
	c.isEdited, c.copyOf = false, ""
	return c
}

// untimed is the cause of what the host does not want, or cannot have yet: it comes late for another reason than the agent.
func (c cause) untimed() cause {
	c.virtual, c.host = time.Time{}, time.Time{}
	return c
}

func older(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// notice is what a watch told about an object.
type notice struct {
	object   client.Object
	at       time.Time
	isEdited bool // what somebody may edit of it has changed, and not its status alone
}

func (n notice) cause(side Side) cause {
	if side == Virtual {
		return cause{virtual: n.at}
	}
	return cause{host: n.at, isEdited: n.isEdited, copyOf: types.UID(n.object.GetAnnotations()[mapping.AnnotationTenantUID])}
}

// isEdit tells whether more than the status of an object has changed. Types without generations say nothing about it.
func isEdit(old, new client.Object) bool {
	return new.GetGeneration() == 0 || old.GetGeneration() != new.GetGeneration() ||
		!maps.Equal(old.GetLabels(), new.GetLabels()) || !maps.Equal(old.GetAnnotations(), new.GetAnnotations())
}

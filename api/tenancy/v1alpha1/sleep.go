package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Sleep says when something sleeps: its workloads are stopped, and everything that is stored stays. The force of a user comes
// first, then the schedule, then idleness.
//
// +kubebuilder:validation:XValidation:rule="!has(self.deleteAfterIdle) || has(self.afterIdle)",message="deleteAfterIdle needs afterIdle: only what sleeps is deleted"
type Sleep struct {
	// AfterIdle is how long nothing may happen before it sleeps, at least one minute. Nil means that it does not sleep for idleness.
	//
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m')",message="afterIdle must be at least 1m"
	AfterIdle *metav1.Duration `json:"afterIdle,omitempty"`

	// Schedule puts it to sleep and wakes it at times of the day. Nil means no schedule.
	Schedule *SleepSchedule `json:"schedule,omitempty"`

	// Force puts it to sleep or keeps it awake whatever else is said, until it is taken off. While it is Asleep, no activity wakes it.
	Force SleepForce `json:"force,omitempty"`

	// DeleteAfterIdle is how long it may sleep for idleness before it is deleted with all it holds, at least one hour. A condition and
	// events warn before. Nil means that it is never deleted.
	//
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h')",message="deleteAfterIdle must be at least 1h"
	DeleteAfterIdle *metav1.Duration `json:"deleteAfterIdle,omitempty"`

	// SnoozeUntil puts the deletion off: it does not come before this time.
	SnoozeUntil *metav1.Time `json:"snoozeUntil,omitempty"`
}

// SleepSchedule is a pair of cron expressions: minute, hour, day of the month, month and weekday.
type SleepSchedule struct {
	// Sleep is when it goes to sleep, such as "0 20 * * 1-5".
	//
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="!self.contains('TZ=')",message="a cron expression must not name a time zone; say it in timeZone"
	Sleep string `json:"sleep"`

	// Wake is when it wakes, such as "0 7 * * 1-5". Empty means that only activity wakes it.
	//
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="!self.contains('TZ=')",message="a cron expression must not name a time zone; say it in timeZone"
	Wake string `json:"wake,omitempty"`

	// TimeZone of both expressions, a name of the IANA database such as Europe/Berlin.
	//
	// +kubebuilder:default=UTC
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_+/-]+$`
	TimeZone string `json:"timeZone,omitempty"`
}

// SleepForce is what a user wants regardless of schedules and activity.
//
// +kubebuilder:validation:Enum=Asleep;Awake
type SleepForce string

// The forces.
const (
	ForceAsleep SleepForce = "Asleep"
	ForceAwake  SleepForce = "Awake"
)

// SpaceSleep says when a space sleeps and what becomes of its bare pods.
type SpaceSleep struct {
	Sleep `json:",inline"`

	// BarePods says what happens to pods without a controller when the space falls asleep: they go on running, or they are deleted,
	// which nothing undoes.
	//
	// +kubebuilder:default=Keep
	BarePods BarePodsPolicy `json:"barePods,omitempty"`
}

// BarePodsPolicy says what happens to pods without a controller.
//
// +kubebuilder:validation:Enum=Keep;Delete
type BarePodsPolicy string

// The policies.
const (
	BarePodsKeep   BarePodsPolicy = "Keep"
	BarePodsDelete BarePodsPolicy = "Delete"
)

// Annotations by which it is told that something happens, on what sleeps and on what is put to sleep. The times are RFC 3339; one in
// the future counts as now.
const (
	// AnnotationActivity is when something was last seen to happen: it keeps awake and wakes nobody.
	AnnotationActivity = "sleep.matryoshka.dev/activity"
	// AnnotationWake is when somebody last asked for it to wake. What is forced asleep does not wake by it.
	AnnotationWake = "sleep.matryoshka.dev/wake"
	// AnnotationExclude, with the value "true" on a workload of a space, lets it run on while the space sleeps.
	AnnotationExclude = "sleep.matryoshka.dev/exclude"
	// AnnotationReplicas is, on a workload of a sleeping space, how many replicas it had.
	AnnotationReplicas = "sleep.matryoshka.dev/replicas"
	// AnnotationSuspended is, with the value "true", on a CronJob or Job that a sleeping space has suspended.
	AnnotationSuspended = "sleep.matryoshka.dev/suspended"
)

// Conditions and reasons of what sleeps.
const (
	// ConditionAsleep is true while it sleeps; its reason is one of those below.
	ConditionAsleep = "Asleep"
	// ConditionDeletionDue is true when it will soon be deleted for idleness; its message says when and how to put it off.
	ConditionDeletionDue = "DeletionDue"

	ReasonForced    = "Forced"
	ReasonScheduled = "Scheduled"
	ReasonIdle      = "Idle"
	ReasonActive    = "Active"
	ReasonNoPolicy  = "NoPolicy"
	// ReasonSpaceAsleep is why a virtual cluster sleeps whose space does.
	ReasonSpaceAsleep = "SpaceAsleep"
	// ReasonBadSchedule is why something that has a schedule that cannot be read does not sleep at all.
	ReasonBadSchedule = "BadSchedule"
	// ReasonCannotSleep is why something does not sleep that would lose what it holds.
	ReasonCannotSleep = "CannotSleep"
	// ReasonAccountSuspended is why something does not wake whose account is suspended.
	ReasonAccountSuspended = "AccountSuspended"
)

// SleepPhase is a step between being awake and asleep. It is written down before anything is done for it.
//
// +kubebuilder:validation:Enum=Awake;FallingAsleep;Asleep;Waking
type SleepPhase string

// The phases. The empty one is PhaseAwake.
const (
	PhaseAwake         SleepPhase = "Awake"
	PhaseFallingAsleep SleepPhase = "FallingAsleep"
	PhaseAsleep        SleepPhase = "Asleep"
	PhaseWaking        SleepPhase = "Waking"
)

// SleepStatus is what the agent has observed of the sleep.
type SleepStatus struct {
	Phase SleepPhase `json:"phase,omitempty"`

	// Epoch counts how often it has fallen asleep.
	Epoch int64 `json:"epoch,omitempty"`

	// Cause of the present sleep: one of the reasons of the condition Asleep.
	Cause string `json:"cause,omitempty"`

	// Since when it sleeps or is awake.
	Since *metav1.Time `json:"since,omitempty"`

	// LastActivity is when something was last seen to happen.
	LastActivity *metav1.Time `json:"lastActivity,omitempty"`

	// IdleSince is since when nothing has happened, as far as spec.sleep.afterIdle goes: not since before it was said.
	IdleSince *metav1.Time `json:"idleSince,omitempty"`

	// Schedule is the one that counts now, and ScheduleSince since when. Its earlier times put nothing to sleep.
	Schedule      *SleepSchedule `json:"schedule,omitempty"`
	ScheduleSince *metav1.Time   `json:"scheduleSince,omitempty"`

	// NextChange is when the schedule next changes something.
	NextChange *metav1.Time `json:"nextChange,omitempty"`

	// DeleteAt is when it will be deleted if nothing happens.
	DeleteAt *metav1.Time `json:"deleteAt,omitempty"`

	// WarnedSeconds is for how long the condition DeletionDue has been seen to be true, by a clock that does not jump.
	WarnedSeconds int64 `json:"warnedSeconds,omitempty"`

	// SavedSeconds is how long it has slept in all, before the present sleep.
	SavedSeconds int64 `json:"savedSeconds,omitempty"`

	// Saved is what sleeping pods would have requested, at the time that they were stopped.
	Saved *SavedResources `json:"saved,omitempty"`
}

// IsAsleep tells whether it sleeps or is about to.
func (s *SleepStatus) IsAsleep() bool {
	return s.Phase == PhaseFallingAsleep || s.Phase == PhaseAsleep
}

// SavedResources is what the present sleep leaves to others.
type SavedResources struct {
	Pods        int32 `json:"pods"`
	MilliCPU    int64 `json:"milliCPU"`
	MemoryBytes int64 `json:"memoryBytes"`
}

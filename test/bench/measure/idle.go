package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
	"github.com/matryoshka-dev/matryoshka/test/bench/machine"
	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

var idleRows = []string{
	report.IdleMemory, report.IdlePodMemory, report.IdleCPU, report.IdleOwnCPU, report.IdleHostCPU, report.AgentMemory, report.AgentCPU,
}

// idleStage is what was seen with so many idle tenants.
type idleStage struct {
	tenants     int
	agent, host machine.Use
	// Of every control plane.
	millicores, private, podPrivate []float64
}

// idle leaves 0, 10, 30 … tenants alone and looks at what they, the agent and the host use.
func idle(ctx context.Context, b *Bench) (err error) {
	var tenants []*lab.Tenant
	defer func() { err = errors.Join(err, b.remove(tenants...)) }()
	var stages []idleStage
	for _, count := range append([]int{0}, b.Options.IdleTenants...) {
		more, err := b.tenants(ctx, "idle", len(tenants), count)
		tenants = append(tenants, more...)
		if err != nil {
			return err
		}
		stage, err := b.idleStage(ctx, tenants)
		if err != nil {
			return err
		}
		b.Log("idle: %s", stage)
		stages = append(stages, stage)
	}
	b.recordIdle(stages)
	return nil
}

func (s idleStage) String() string {
	return fmt.Sprintf("%d tenants: agent %.0f MiB and %.1f millicores, embedded host %.0f millicores", s.tenants, s.agent.Private, s.agent.Millicores, s.host.Millicores)
}

func (b *Bench) idleStage(ctx context.Context, tenants []*lab.Tenant) (idleStage, error) {
	stage := idleStage{tenants: len(tenants)}
	if err := machine.Pause(ctx, b.Options.Settle); err != nil {
		return stage, err
	}
	agent, err := b.agent(ctx)
	if err != nil {
		return stage, err
	}
	controlPlanes, err := b.controlPlanes(ctx, tenants)
	if err != nil {
		return stage, err
	}
	ofHost, err := b.Host.Processes()
	if err != nil {
		return stage, err
	}
	uses, err := machine.Observe(ctx, b.Options.Window, slices.Concat([]machine.Process{agent}, controlPlanes, ofHost))
	if err != nil {
		return stage, err
	}
	stage.agent = uses[0]
	for index, process := range controlPlanes {
		podPrivate, err := process.PodPrivate()
		if err != nil {
			return stage, err
		}
		stage.millicores = append(stage.millicores, uses[1+index].Millicores)
		stage.private = append(stage.private, uses[1+index].Private)
		stage.podPrivate = append(stage.podPrivate, float64(podPrivate)/(1<<20))
	}
	for _, use := range uses[1+len(controlPlanes):] {
		stage.host.Millicores += use.Millicores
		stage.host.Private += use.Private
	}
	return stage, nil
}

func (b *Bench) controlPlanes(ctx context.Context, tenants []*lab.Tenant) ([]machine.Process, error) {
	processes := make([]machine.Process, 0, len(tenants))
	for _, tenant := range tenants {
		process, err := b.controlPlane(ctx, tenant)
		if err != nil {
			return nil, err
		}
		processes = append(processes, process)
	}
	return processes, nil
}

// recordIdle tells of the control planes in the stage with the most of them, and of what the agent and the host use more there
// than without tenants.
func (b *Bench) recordIdle(stages []idleStage) {
	last := stages[len(stages)-1]
	if last.tenants == 0 {
		return
	}
	agentCPU := func(s idleStage) float64 { return s.agent.Millicores }
	agentMemory := func(s idleStage) float64 { return s.agent.Private }
	hostCPU := func(s idleStage) float64 { return s.host.Millicores }
	share := perTenant(stages, agentCPU)
	withShare := make([]float64, len(last.millicores))
	for index, own := range last.millicores {
		withShare[index] = own + share
	}
	alone := fmt.Sprintf("%d idle tenants left alone for %s, measured for %s", last.tenants, b.Options.Settle, b.Options.Window)
	record := func(row, note string, values ...float64) {
		b.record(report.Figure{Row: row, Summary: report.Summarise(values), Store: b.stores(), Note: note})
	}
	record(report.IdleMemory, alone, last.private...)
	record(report.IdlePodMemory, alone, last.podPrivate...)
	record(report.IdleCPU, fmt.Sprintf("%s; agent's share %.2f", alone, share), withShare...)
	record(report.IdleOwnCPU, alone, last.millicores...)
	record(report.IdleHostCPU, eachStage(stages, hostCPU), perTenant(stages, hostCPU))
	record(report.AgentMemory, eachStage(stages, agentMemory), perTenant(stages, agentMemory))
	record(report.AgentCPU, eachStage(stages, agentCPU), share)
}

// perTenant is what the last stage has more than the first one, which has no tenants, per tenant.
func perTenant(stages []idleStage, of func(idleStage) float64) float64 {
	first, last := stages[0], stages[len(stages)-1]
	return (of(last) - of(first)) / float64(last.tenants)
}

// eachStage tells the values themselves.
func eachStage(stages []idleStage, of func(idleStage) float64) string {
	counts, values := make([]string, 0, len(stages)), make([]string, 0, len(stages))
	for _, stage := range stages {
		counts = append(counts, fmt.Sprint(stage.tenants))
		values = append(values, fmt.Sprintf("%.1f", of(stage)))
	}
	return strings.Join(values, ", ") + " at " + strings.Join(counts, ", ") + " tenants"
}

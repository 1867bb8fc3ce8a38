package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

const (
	renderTimeout = 10 * time.Second
	// maxAtOnce is how many charts are rendered at a time.
	maxAtOnce = 2
	// maxAnswer is how large the answer of the process that renders may be. Anchors of YAML can make more of what is rendered.
	maxAnswer = maxRendered
)

// Renderer renders charts, each in a process of its own: nothing else can end a Go template, or bound the memory that one takes.
type Renderer struct {
	// version is that of the host cluster, which charts ask for.
	version func(context.Context) (string, error)
	// turns are held by what is being rendered.
	turns chan struct{}
}

// NewRenderer makes a renderer for a host cluster of the version. The program that calls it runs Main when IsChild.
func NewRenderer(version func(context.Context) (string, error)) *Renderer {
	return &Renderer{version: version, turns: make(chan struct{}, maxAtOnce)}
}

// Release is what a chart is told about itself.
type Release struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

// Render renders the chart of the archive with the values and returns its objects. Where the values hold texts that could mean
// something in YAML, neutral are the values with placeholders for them, and the two renderings must be of the same structure.
func (r *Renderer) Render(ctx context.Context, archive []byte, release Release, values, neutral map[string]any, placeholders map[string]string) ([]map[string]any, error) {
	version, err := r.version(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the host cluster for its version: %w", err)
	}
	asked, err := utiljson.Marshal(&request{
		Archive: archive, Release: release, Version: version, Values: values, Neutral: neutral, Placeholders: placeholders,
	})
	if err != nil {
		return nil, fmt.Errorf("write the values for the chart: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, renderTimeout)
	defer cancel()
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return nil, errors.New("other charts are being rendered and do not come to an end; this one comes later")
	}
	return renderInChild(ctx, asked)
}

// renderInChild asks the process. Values go by its input, where nobody else sees them; what it says when it fails is not shown, since
// values are in it.
func renderInChild(ctx context.Context, asked []byte) ([]map[string]any, error) {
	// Not by its path: the program may have been replaced by a newer one.
	child := exec.CommandContext(ctx, "/proc/self/exe", Command)
	child.Env = childEnvironment
	child.Stdin = bytes.NewReader(asked)
	written := &boundedBuffer{limit: maxAnswer}
	child.Stdout = written
	child.WaitDelay = time.Second
	if err := child.Run(); err != nil {
		return nil, endReason(ctx, err)
	}
	var answered answer
	if err := utiljson.Unmarshal(written.Bytes(), &answered); err != nil {
		return nil, fmt.Errorf("read what the chart has rendered: %w", err)
	}
	if answered.Problem != "" {
		return nil, errors.New(answered.Problem)
	}
	return answered.Objects, nil
}

func endReason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("rendering the chart takes longer than %s", renderTimeout)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("rendering the chart took more than %d MiB of memory or %s of computing: %w", maxMemory>>20, renderTimeout, exit)
	}
	return fmt.Errorf("run the process that renders charts: %w", err)
}

// boundedBuffer fails a write beyond the limit, which ends the process that writes.
type boundedBuffer struct {
	bytes.Buffer
	limit int
}

// Write implements io.Writer.
func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, fmt.Errorf("the process that renders charts wrote more than %d bytes", b.limit)
	}
	return b.Buffer.Write(p)
}

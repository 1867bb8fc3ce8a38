package chart

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

const (
	// Command is the first argument of the program when it is to render one chart, and nothing else.
	Command = "render-chart"
	// maxMemory is how much memory the process may take, the program itself with it.
	maxMemory = 256 << 20
	// maxRequest is how large a request may be: a chart, packed, and the values.
	maxRequest = 16 << 20
)

// childEnvironment is the whole environment of the process. It uses one processor, so that a chart cannot take them all.
var childEnvironment = []string{"GOMAXPROCS=1"}

// request is what the process is asked.
type request struct {
	Archive      []byte            `json:"archive"`
	Release      Release           `json:"release"`
	Version      string            `json:"version"`
	Values       map[string]any    `json:"values"`
	Neutral      map[string]any    `json:"neutral"`
	Placeholders map[string]string `json:"placeholders"`
}

// answer is what the process says. A problem is one of the chart or of the values.
type answer struct {
	Objects []map[string]any `json:"objects"`
	Problem string           `json:"problem"`
}

// IsChild tells whether this process was started to run Main.
func IsChild() bool { return len(os.Args) == 2 && os.Args[1] == Command }

// Main is the process that renders one chart: it reads what is asked from its input and writes the objects to its output. It limits
// itself first, which cannot be undone. An error is none of the chart.
func Main() error {
	if err := limitSelf(); err != nil {
		return err
	}
	return serve(os.Stdin, os.Stdout)
}

func serve(in io.Reader, out io.Writer) error {
	data, err := readAll(in, maxRequest)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	var asked request
	if err := utiljson.Unmarshal(data, &asked); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	encoded, err := utiljson.Marshal(answerTo(&asked))
	if err == nil && len(encoded) > maxAnswer {
		encoded, err = utiljson.Marshal(&answer{Problem: fmt.Sprintf("the objects of the chart have more than %d bytes", maxAnswer)})
	}
	if err != nil {
		return fmt.Errorf("write the objects: %w", err)
	}
	_, err = out.Write(encoded)
	return err
}

func answerTo(asked *request) (answered *answer) {
	defer func() {
		if reason := recover(); reason != nil {
			answered = &answer{Problem: fmt.Sprintf("rendering the chart failed: %.200v", reason)}
		}
	}()
	objects, err := renderChecked(asked)
	if err != nil {
		return &answer{Problem: err.Error()}
	}
	return &answer{Objects: objects}
}

// limitSelf bounds the memory and the time of computing, the latter for when nobody is left who would end the process.
func limitSelf() error {
	limits := map[int]uint64{unix.RLIMIT_DATA: maxMemory, unix.RLIMIT_CPU: uint64(renderTimeout.Seconds()), unix.RLIMIT_CORE: 0}
	for resource, limit := range limits {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("limit resource %d of the process: %w", resource, err)
		}
	}
	return nil
}

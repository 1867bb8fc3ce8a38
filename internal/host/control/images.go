package control

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNotRunning is returned for what needs a running host.
var ErrNotRunning = errors.New("the host does not run; start it with `matry up`")

// LoadImage imports a docker-archive or OCI tar, which may hold several images, so that pods on all nodes can use it. It returns what
// was imported, one reference each.
func LoadImage(ctx context.Context, dataDir, tar string) ([]string, error) {
	layout, err := NewLayout(dataDir)
	if err != nil {
		return nil, err
	}
	status, err := layout.status()
	if err != nil {
		return nil, err
	}
	if status.PID == 0 || status.Options.ProgramsDir == "" {
		return nil, ErrNotRunning
	}
	if tar, err = filepath.Abs(tar); err != nil {
		return nil, fmt.Errorf("image file: %w", err)
	}
	var imported []string
	for _, node := range layout.Nodes(status.Options.Nodes) {
		command := exec.CommandContext(ctx, filepath.Join(status.Options.ProgramsDir, "ctr"),
			"--address", node.ContainerdSocket(), "--namespace", "k8s.io", "images", "import", "--local", tar)
		output, err := command.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("import the images of %q: %w: %s", tar, err, strings.TrimSpace(string(output)))
		}
		imported = importedImages(string(output))
	}
	return imported, nil
}

// importedImages reads the lines "unpacking NAME (DIGEST)...done" that ctr prints.
func importedImages(output string) []string {
	var images []string
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "unpacking" {
			images = append(images, fields[1])
		}
	}
	return images
}

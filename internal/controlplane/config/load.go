package config

import (
	"fmt"
	"io"
	"os"

	"sigs.k8s.io/yaml"
)

// maxBytes bounds the file; a real one has well under a kilobyte.
const maxBytes = 1 << 20

// Load reads, defaults and validates the file. An unknown or repeated key is an error. The error names every problem
// with its path.
func Load(path string) (*ControlPlane, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration %q: %w", path, err)
	}
	if len(data) > maxBytes {
		return nil, fmt.Errorf("configuration %q is larger than %d bytes", path, maxBytes)
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("configuration %q: %w", path, err)
	}
	return c, nil
}

// Parse is Load for what is in memory.
func Parse(data []byte) (*ControlPlane, error) {
	c := &ControlPlane{}
	if err := yaml.UnmarshalStrict(data, c); err != nil {
		return nil, err
	}
	c.Default()
	if err := c.Validate().ToAggregate(); err != nil {
		return nil, err
	}
	return c, nil
}

// Marshal writes the configuration as the file that Load reads.
func (c *ControlPlane) Marshal() ([]byte, error) {
	stamped := *c
	stamped.APIVersion, stamped.Kind = APIVersion, Kind
	data, err := yaml.Marshal(stamped)
	if err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	return data, nil
}

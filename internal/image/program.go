package image

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
)

// goArchitecture names the machines that Go and containerd know by another name than ELF does.
var goArchitecture = map[elf.Machine]string{
	elf.EM_X86_64:  "amd64",
	elf.EM_AARCH64: "arm64",
}

// architectureOf reads for which architecture a program is built, and refuses a program that an image without
// libraries cannot run.
func architectureOf(path string) (string, error) {
	program, err := elf.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("program %q does not exist: run `make build`, or say with --bin-dir where the programs are: %w", path, err)
	}
	if err != nil {
		return "", fmt.Errorf("read program %q: %w", path, err)
	}
	defer program.Close()
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP {
			return "", fmt.Errorf("program %q is linked dynamically and cannot run in an image without libraries: build it with CGO_ENABLED=0", path)
		}
	}
	architecture, known := goArchitecture[program.Machine]
	if !known {
		return "", fmt.Errorf("program %q is built for %s; only amd64 and arm64 are known", path, program.Machine)
	}
	return architecture, nil
}

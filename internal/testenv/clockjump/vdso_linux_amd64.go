package clockjump

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// functionName is what Go's runtime looks for in the shared object that the kernel maps into each process.
const functionName = "__vdso_clock_gettime"

// findFunction returns where a process has the function that tells the time. It has room for so many bytes.
func findFunction(pid, room int) (uintptr, error) {
	start, end, err := findVDSO(pid)
	if err != nil {
		return 0, err
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, err
	}
	defer memory.Close()
	object, err := elf.NewFile(io.NewSectionReader(memory, start, end-start))
	if err != nil {
		return 0, fmt.Errorf("read the vDSO: %w", err)
	}
	symbols, err := object.DynamicSymbols()
	if err != nil {
		return 0, fmt.Errorf("read the symbols of the vDSO: %w", err)
	}
	for _, symbol := range symbols {
		if symbol.Name != functionName {
			continue
		}
		if symbol.Size < uint64(room) {
			return 0, fmt.Errorf("%s has %d bytes, %d are needed", functionName, symbol.Size, room)
		}
		// The object is linked to address 0.
		return uintptr(start) + uintptr(symbol.Value), nil
	}
	return 0, fmt.Errorf("the vDSO has no %s", functionName)
}

// findVDSO returns where a process has the vDSO in its memory.
func findVDSO(pid int) (start, end int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(line, "[vdso]\n") {
			continue
		}
		var rights string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &start, &end, &rights); err != nil {
			return 0, 0, fmt.Errorf("read %q: %w", line, err)
		}
		if rights != "r-xp" {
			return 0, 0, fmt.Errorf("the vDSO is mapped %q, not as the process's own", rights)
		}
		return start, end, nil
	}
	return 0, 0, errors.New("no vDSO is mapped")
}

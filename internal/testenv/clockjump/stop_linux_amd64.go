package clockjump

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// stopped are threads that stand still because the calling thread traces them.
type stopped []int

// stop stops all threads of a process, those too that it starts meanwhile. What it returns must be released, with an error too.
func stop(pid int) (stopped, error) {
	var threads stopped
	for {
		found, err := threadsOf(pid)
		if err != nil {
			return threads, err
		}
		before := len(threads)
		for _, thread := range found {
			if slices.Contains(threads, thread) {
				continue
			}
			switch err := stopThread(thread); {
			case errors.Is(err, unix.ESRCH): // it has ended
			case err != nil:
				return threads, fmt.Errorf("stop thread %d: %w", thread, err)
			default:
				threads = append(threads, thread)
			}
		}
		// Nobody is left who could start another one.
		if len(threads) == before {
			return threads, nil
		}
	}
}

func threadsOf(pid int) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
	if err != nil {
		return nil, err
	}
	var threads []int
	for _, entry := range entries {
		thread, err := strconv.Atoi(entry.Name())
		if err != nil {
			return nil, err
		}
		threads = append(threads, thread)
	}
	return threads, nil
}

// stopThread returns when a thread stands still. The error is ESRCH if it has ended.
func stopThread(thread int) error {
	if err := unix.PtraceSeize(thread); err != nil {
		return err
	}
	if err := unix.PtraceInterrupt(thread); err != nil {
		return err
	}
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(thread, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case !status.Stopped():
			return unix.ESRCH
		case int(status)>>16 == unix.PTRACE_EVENT_STOP:
			return nil
		}
		// A signal was first. The thread gets it, and then it stops.
		if err := unix.PtraceCont(thread, int(status.StopSignal())); err != nil {
			return err
		}
	}
}

// avoid returns errInUse if a thread is in the middle of the code between two addresses.
func (s stopped) avoid(start, end uintptr) error {
	for _, thread := range s {
		var registers unix.PtraceRegs
		if err := unix.PtraceGetRegs(thread, &registers); err != nil {
			return fmt.Errorf("read the registers of thread %d: %w", thread, err)
		}
		if next := uintptr(registers.Rip); next > start && next < end {
			return errInUse
		}
	}
	return nil
}

// release lets the threads go on. One that was killed meanwhile is no error.
func (s stopped) release() error {
	var failed []error
	for _, thread := range s {
		if err := unix.PtraceDetach(thread); err != nil && !errors.Is(err, unix.ESRCH) {
			failed = append(failed, fmt.Errorf("let thread %d go on: %w", thread, err))
		}
	}
	return errors.Join(failed...)
}

package clockjump

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// attempts bounds how often the process is stopped until no thread of it is just asking for the time.
const attempts = 1000

// errInUse says that a thread stood in what was to be overwritten.
var errInUse = errors.New("a thread is asking for the time")

// Set makes the wall clock of a process run ahead of the machine's, by whole seconds; behind it, if ahead is negative. Zero makes
// it right again. The process stands still for some milliseconds.
func Set(pid int, ahead time.Duration) error {
	seconds := ahead / time.Second
	if ahead%time.Second != 0 || seconds < math.MinInt32 || seconds > math.MaxInt32 {
		return fmt.Errorf("a clock is moved by whole seconds, at most %d of them, not by %s", math.MaxInt32, ahead)
	}
	at, err := findFunction(pid, len(machineCode(0)))
	if err != nil {
		return fmt.Errorf("find how process %d asks for the time: %w", pid, err)
	}
	// A tracer is a thread, not a process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range attempts {
		if err = overwrite(pid, at, machineCode(int32(seconds))); !errors.Is(err, errInUse) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("set the clock of process %d: %w", pid, err)
	}
	return nil
}

// machineCode asks the kernel, and adds seconds to the answer if the question was for CLOCK_REALTIME. It changes no register that
// a caller in C expects to find again.
func machineCode(seconds int32) []byte {
	code := []byte{
		0xb8, unix.SYS_CLOCK_GETTIME, 0, 0, 0, // mov eax, SYS_clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi: the clock; CLOCK_REALTIME is 0
		0x75, 0x07, // jne over the next
		0x48, 0x81, 0x06, // add qword ptr [rsi], seconds: tv_sec
	}
	code = binary.LittleEndian.AppendUint32(code, uint32(seconds))
	return append(code, 0xc3) // ret
}

// isOurs tells whether code was made by machineCode.
func isOurs(code []byte) bool {
	seconds := binary.LittleEndian.Uint32(code[len(code)-5:])
	return bytes.Equal(code, machineCode(int32(seconds)))
}

// overwrite puts code at an address while all threads of a process stand still, and lets them go on.
func overwrite(pid int, at uintptr, code []byte) (err error) {
	threads, err := stop(pid)
	defer func() { err = errors.Join(err, threads.release()) }()
	if err != nil {
		return err
	}
	present := make([]byte, len(code))
	if _, err := unix.PtracePeekText(threads[0], at, present); err != nil {
		return fmt.Errorf("read the function: %w", err)
	}
	// Between two versions of ours one number changes: whoever stands in one goes on in the other.
	if !isOurs(present) {
		if err := threads.avoid(at, at+uintptr(len(code))); err != nil {
			return err
		}
	}
	// The kernel copies the page first: it is the other processes' too.
	if _, err := unix.PtracePokeText(threads[0], at, code); err != nil {
		return fmt.Errorf("write the function: %w", err)
	}
	return nil
}

// Package clockjump moves the wall clock of one running Go process in tests, as if somebody had set the clock of a machine that
// has nothing but this process. The machine's clock stays, and with it that of every other process.
//
// It is for tests only and is imported by no product code. A Go program asks a function for the time that the kernel maps into
// each process, __vdso_clock_gettime; Set overwrites it in the memory of the process. Invariants: only CLOCK_REALTIME moves, the
// monotonic clock and so all waiting does not, as when a clock is set; a process that the other one starts has the right clock.
//
// It needs the right to trace the process: root, or a child of the caller's own user. It knows Linux on amd64 only.
package clockjump

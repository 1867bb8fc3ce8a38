package control

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrHeld is returned by Lock when another process runs this host.
var ErrHeld = errors.New("another process runs this host")

// The bytes of the lock file that are locked. Who asks whether they are does not lock them: two who ask, or one who asks while a
// host starts, must not take each other for the host.
const (
	// claimed is locked first: by it one process only is the host.
	claimed = 0
	// announced is locked when the file holds the process ID. Before, it may hold that of a killed host.
	announced = 1
)

// announceTimeout bounds the wait for a process that has claimed the host to write its ID.
const announceTimeout = 5 * time.Second

// Lock makes the calling process the host of this data folder until the returned file is closed.
func (l Layout) Lock() (*os.File, error) { return l.lock(os.O_CREATE) }

// lock is Lock; without os.O_CREATE it returns fs.ErrNotExist for a folder that never had a host.
func (l Layout) lock(create int) (*os.File, error) {
	file, err := os.OpenFile(l.LockFile(), os.O_RDWR|create, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data folder: %w", err)
	}
	if err := l.take(file); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func (l Layout) take(file *os.File) error {
	if err := lockByte(file, claimed); err != nil {
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return fmt.Errorf("data folder %s: %w", l.DataDir, ErrHeld)
		}
		return fmt.Errorf("lock the data folder: %w", err)
	}
	if err := errors.Join(file.Truncate(0), writeID(file)); err != nil {
		return fmt.Errorf("write the lock of the data folder: %w", err)
	}
	if err := lockByte(file, announced); err != nil {
		return fmt.Errorf("lock the data folder: %w", err)
	}
	return nil
}

func writeID(file *os.File) error {
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder is the process that holds the lock, 0 when none does.
func (l Layout) holder() (int, error) {
	file, err := os.Open(l.LockFile())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return 0, fmt.Errorf("open the lock of the data folder: %w; only root may look at a host, run the command with sudo", err)
	}
	if err != nil {
		return 0, fmt.Errorf("open the lock of the data folder: %w", err)
	}
	defer file.Close()
	for deadline := time.Now().Add(announceTimeout); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		isAnnounced, err := isLocked(file, announced)
		if err != nil {
			return 0, fmt.Errorf("look at the lock of the data folder: %w", err)
		}
		if isAnnounced {
			// It is empty when that process has just ended and the next one begins.
			if pid, err := readID(file); pid != 0 || err != nil {
				return pid, err
			}
			continue
		}
		isClaimed, err := isLocked(file, claimed)
		if err != nil {
			return 0, fmt.Errorf("look at the lock of the data folder: %w", err)
		}
		if !isClaimed {
			return 0, nil
		}
	}
	return 0, fmt.Errorf("the process that has locked %s does not say which one it is", l.LockFile())
}

// maxID bounds what is read of a lock file.
const maxID = 32

// readID returns 0 when there is none yet.
func readID(file *os.File) (int, error) {
	content, err := io.ReadAll(io.NewSectionReader(file, 0, maxID))
	if err != nil {
		return 0, fmt.Errorf("read the lock of the data folder: %w", err)
	}
	text := strings.TrimSpace(string(content))
	if text == "" {
		return 0, nil
	}
	pid, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("read the lock of the data folder %s: %w", file.Name(), err)
	}
	return pid, nil
}

// lockByte locks one byte for as long as the file is open. The kernel frees the locks of a killed process.
func lockByte(file *os.File, position int64) error {
	return unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: position, Len: 1})
}

func isLocked(file *os.File, position int64) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: position, Len: 1}
	err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &lock)
	return lock.Type != unix.F_UNLCK, err
}

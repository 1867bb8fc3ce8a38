package supervisor

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// maxLog is the size at which a log is put aside; one older one is kept.
const maxLog = 32 << 20

// boundedLog is a log file that cannot fill the disk.
type boundedLog struct {
	mu   sync.Mutex
	path string
	file *os.File
	size int64
	max  int64
}

func openLog(path string) (*boundedLog, error) {
	l := &boundedLog{path: path, max: maxLog}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *boundedLog) open() error {
	file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return fmt.Errorf("look at the log: %w", err)
	}
	l.file, l.size = file, info.Size()
	return nil
}

// Write appends to the log.
func (l *boundedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > 0 && l.size+int64(len(p)) > l.max {
		if err := l.turn(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

func (l *boundedLog) turn() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("close the log: %w", err)
	}
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		return fmt.Errorf("put the log aside: %w", err)
	}
	return l.open()
}

// maxLine bounds what is shown of a log.
const maxLine = 1024

// lastLine is what a program said last; empty when that cannot be read.
func (l *boundedLog) lastLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	file, err := os.Open(l.path)
	if err != nil {
		return ""
	}
	defer file.Close()
	begin := max(0, l.size-maxLine)
	content, err := io.ReadAll(io.NewSectionReader(file, begin, maxLine))
	if err != nil {
		return ""
	}
	text := strings.TrimSpace(string(content))
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// Close the log.
func (l *boundedLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

package faults

import (
	"io"
	"sync/atomic"
	"time"
)

// mortal is the body of a watch that ends in the middle, whatever the server still has to say.
type mortal struct {
	io.ReadCloser
	timer *time.Timer
	ended atomic.Bool
}

func newMortal(body io.ReadCloser, life time.Duration) *mortal {
	m := &mortal{ReadCloser: body}
	m.timer = time.AfterFunc(life, func() {
		m.ended.Store(true)
		_ = body.Close()
	})
	return m
}

// Read implements io.Reader.
func (m *mortal) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if err != nil && m.ended.Load() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements io.Closer.
func (m *mortal) Close() error {
	m.timer.Stop()
	return m.ReadCloser.Close()
}

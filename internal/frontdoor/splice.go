package frontdoor

import (
	"io"
	"net"
	"time"
)

// lingerTimeout is how long the second direction of a connection may go on after the first has ended. Nobody who
// speaks TLS sends on for long to one who has finished; it bounds how long a dead peer is kept.
const lingerTimeout = time.Minute

// splice copies in both directions until both have ended. The end of one is passed on as such, so that the other side
// can finish; a failure ends both. It returns how many bytes came from the client and went to it.
func splice(client, backend net.Conn) (in, out int64) {
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		in = copyOne(backend, client)
	}()
	out = copyOne(client, backend)
	<-finished
	return in, out
}

// copyOne copies until the source ends, and then closes the destination for writing.
func copyOne(destination, source net.Conn) int64 {
	copied, err := io.Copy(destination, source)
	if err == nil && closeWrite(destination) == nil {
		// What the destination still answers comes from its read side, which gets this much time.
		_ = destination.SetReadDeadline(time.Now().Add(lingerTimeout))
		return copied
	}
	destination.Close()
	source.Close()
	return copied
}

func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return conn.Close()
}

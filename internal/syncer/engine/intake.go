package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// A tenant may have replaced its API server by a program that answers as it likes: without end, in pieces that are too large,
// a byte a minute. What the agent reads of it is bounded here, before it is decoded; metering bounds what is decoded.

const (
	// intakeRate and intakeBurst bound how much is read from one tenant's API server, and with it the CPU for decoding it. What a
	// tenant's objects are at first fits into the burst, mostly.
	intakeRate  = 8 << 20
	intakeBurst = 64 << 20
	// maxValue bounds one event of a watch. API servers take no larger objects than three MiB.
	maxValue = 8 << 20
	// maxRefusal bounds the body of an answer that says that something went wrong.
	maxRefusal = 256 << 10
	// watchLife is how long a watch may live that nobody has said a time for.
	watchLife = 30 * time.Minute
)

// patience is how long the parts of an answer may take.
type patience struct {
	// header is until it begins, refusal until it ends if it says no, list if it does not.
	header, refusal, list time.Duration
	// watch is how much longer than it was asked for a watch may live.
	watch time.Duration
}

var usualPatience = patience{header: time.Minute, refusal: 10 * time.Second, list: 5 * time.Minute, watch: time.Minute}

var (
	errValueTooLarge  = fmt.Errorf("the virtual cluster's API server sent an event of more than %d MiB", maxValue>>20)
	errAnswerTooLarge = errors.New("the virtual cluster's API server answers more than the agent reads of one at a time")
	errUnknownMedia   = errors.New("the virtual cluster's API server answered a watch in a form that was not asked for")
)

// intake bounds what one tenant's API server makes the agent read.
type intake struct {
	// most is how many bytes of answers may be under way, watches not counted.
	most     int64
	under    atomic.Int64
	bytes    *rate.Limiter
	patience patience
}

func newIntake(most int64) *intake {
	return &intake{most: most, bytes: rate.NewLimiter(intakeRate, intakeBurst), patience: usualPatience}
}

// wrap is for rest.Config.Wrap.
func (i *intake) wrap(next http.RoundTripper) http.RoundTripper {
	return &intakeTransport{intake: i, next: next}
}

type intakeTransport struct {
	intake *intake
	next   http.RoundTripper
}

// WrappedRoundTripper lets the libraries of Kubernetes find what is behind.
func (t *intakeTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip implements http.RoundTripper.
func (t *intakeTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(request.Context())
	timer := time.AfterFunc(t.intake.patience.header, cancel)
	end := func() {
		timer.Stop()
		cancel()
	}
	response, err := t.next.RoundTrip(request.WithContext(ctx))
	if err != nil {
		end()
		return nil, err
	}
	life, reader, err := t.intake.bound(ctx, request, response)
	if err != nil {
		end()
		response.Body.Close()
		return nil, err
	}
	timer.Reset(life)
	response.Body = &intakeBody{Reader: reader, body: response.Body, end: end}
	return response, nil
}

// bound returns how long an answer may take to be read, and what reads it within its bounds.
func (i *intake) bound(ctx context.Context, request *http.Request, response *http.Response) (life time.Duration, reader io.Reader, err error) {
	paced := &pacedReader{Reader: response.Body, ctx: ctx, bytes: i.bytes}
	switch {
	case response.StatusCode >= http.StatusMultipleChoices:
		return i.patience.refusal, io.LimitReader(response.Body, maxRefusal), nil
	case !isWatch(request):
		return i.patience.list, &countedReader{Reader: paced, intake: i}, nil
	}
	reader, err = valueReader(response.Header.Get("Content-Type"), paced)
	return watchTimeout(request) + i.patience.watch, reader, err
}

func isWatch(request *http.Request) bool {
	value := request.URL.Query().Get("watch")
	return request.Method == http.MethodGet && (value == "true" || value == "1")
}

func watchTimeout(request *http.Request) time.Duration {
	seconds, err := strconv.Atoi(request.URL.Query().Get("timeoutSeconds"))
	if err != nil || seconds <= 0 {
		return watchLife
	}
	return min(time.Duration(seconds)*time.Second, watchLife)
}

// intakeBody is an answer within its bounds. What readers have counted is given back when it is closed.
type intakeBody struct {
	io.Reader
	body io.Closer
	end  func()
	once sync.Once
}

// Close implements io.Closer.
func (b *intakeBody) Close() error {
	b.once.Do(func() {
		b.end()
		if counted, ok := b.Reader.(*countedReader); ok {
			counted.giveBack()
		}
	})
	return b.body.Close()
}

// pacedReader reads no faster than the tenant's rate.
type pacedReader struct {
	io.Reader
	ctx   context.Context //nolint:containedctx // a body is read within its request
	bytes *rate.Limiter
}

// Read implements io.Reader.
func (p *pacedReader) Read(into []byte) (int, error) {
	n, err := p.Reader.Read(into)
	if n > 0 {
		if waitErr := p.bytes.WaitN(p.ctx, min(n, intakeBurst)); waitErr != nil && err == nil {
			err = waitErr
		}
	}
	return n, err
}

// countedReader counts what has been read as long as somebody holds it.
type countedReader struct {
	io.Reader
	intake *intake

	mu sync.Mutex
	// The following are protected by mu.
	held   int64
	closed bool
}

// Read implements io.Reader.
func (c *countedReader) Read(into []byte) (int, error) {
	n, err := c.Reader.Read(into)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return n, err
	}
	c.held += int64(n)
	if c.intake.under.Add(int64(n)) > c.intake.most {
		return 0, errAnswerTooLarge
	}
	return n, err
}

func (c *countedReader) giveBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.intake.under.Add(-c.held)
	c.held = 0
}

// valueReader bounds the size of each event of a watch.
func valueReader(contentType string, reader io.Reader) (io.Reader, error) {
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && media == "application/json":
		return &jsonValues{reader: reader}, nil
	case err == nil && strings.HasPrefix(media, "application/vnd.kubernetes.protobuf"):
		return &frames{reader: reader}, nil
	}
	return nil, fmt.Errorf("content type %q: %w", contentType, errUnknownMedia)
}

// jsonValues reads JSON values one after the other, as far as their sizes are concerned. What is not JSON is for the decoder to
// say.
type jsonValues struct {
	reader    io.Reader
	size      int64
	depth     int
	inText    bool
	isEscaped bool
}

// Read implements io.Reader.
func (j *jsonValues) Read(into []byte) (int, error) {
	n, err := j.reader.Read(into)
	for _, b := range into[:n] {
		j.size++
		if j.next(b); j.size > maxValue {
			return 0, errValueTooLarge
		}
	}
	return n, err
}

func (j *jsonValues) next(b byte) {
	switch {
	case j.isEscaped:
		j.isEscaped = false
	case j.inText:
		j.isEscaped, j.inText = b == '\\', b != '"'
	case b == '"':
		j.inText = true
	case b == '{' || b == '[':
		j.depth++
	case b == '}' || b == ']':
		if j.depth--; j.depth <= 0 {
			j.depth, j.size = 0, 0
		}
	}
}

// frames reads pieces that each have their length before them, in four bytes.
type frames struct {
	reader io.Reader
	header [4]byte
	filled int   // of the header
	left   int64 // of the piece
}

// Read implements io.Reader.
func (f *frames) Read(into []byte) (int, error) {
	n, err := f.reader.Read(into)
	for at := 0; at < n; {
		if f.left > 0 {
			skipped := min(f.left, int64(n-at))
			f.left -= skipped
			at += int(skipped)
			continue
		}
		f.header[f.filled] = into[at]
		at++
		if f.filled++; f.filled < len(f.header) {
			continue
		}
		f.filled = 0
		f.left = int64(f.header[0])<<24 | int64(f.header[1])<<16 | int64(f.header[2])<<8 | int64(f.header[3])
		if f.left > maxValue {
			return 0, errValueTooLarge
		}
	}
	return n, err
}

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
// a byte a minute, or with pieces that are small until they are decoded. What the agent reads of it is bounded here, before it is
// decoded; metering bounds what is decoded. Only JSON is read: what it takes in memory can be told without knowing its type
// (weigher), and of protobuf it cannot.

const (
	// intakeRate and intakeBurst bound how much is read from one tenant's API server, and with it the CPU for decoding it. What a
	// tenant's objects are at first fits into the burst, mostly.
	intakeRate  = 8 << 20
	intakeBurst = 64 << 20
	// usualWeight is what a byte of usual objects weighs at most. What weighs more is read as slowly as if it were longer.
	usualWeight = 128
	// maxValue bounds one event of a watch. API servers take no larger objects than three MiB.
	maxValue = 8 << 20
	// minIntake has room for an event that is as long as it may be.
	minIntake = (byteWeight + streamBuffers) * maxValue
	// maxRefusal bounds the body of an answer that says that something went wrong.
	maxRefusal = 256 << 10
	// maxUnheld bounds what an answer weighs that nobody counts until it is decoded: a refusal, or an event that was written.
	maxUnheld = 1 << 20
	// watchLife is how long a watch may live that nobody has said a time for.
	watchLife = 30 * time.Minute

	mediaJSON = "application/json"
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
	errUnknownMedia   = errors.New("the virtual cluster's API server answered in a form that was not asked for")
)

// intake bounds what one tenant's API server makes the agent read.
type intake struct {
	// most is what all answers that are under way may weigh.
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
	request = request.Clone(ctx)
	request.Header.Set("Accept", onlyJSON(request.Header.Get("Accept")))
	response, err := t.next.RoundTrip(request)
	if err != nil {
		end()
		return nil, err
	}
	charge := &charge{intake: t.intake}
	life, reader, err := t.intake.bound(request, response, charge)
	if err != nil {
		end()
		response.Body.Close()
		return nil, err
	}
	timer.Reset(life)
	hold := holdOf(ctx)
	isHeld := hold != nil && !isWatch(request) && !isRefusal(response)
	response.Body = &intakeBody{Reader: reader, body: response.Body, end: func() {
		end()
		if isHeld {
			hold.keep(charge)
			return
		}
		charge.end()
	}}
	return response, nil
}

// onlyJSON leaves out what else a client would take.
func onlyJSON(accept string) string {
	var kept []string
	for _, form := range strings.Split(accept, ",") {
		if media, _, err := mime.ParseMediaType(form); err == nil && media == mediaJSON {
			kept = append(kept, form)
		}
	}
	if len(kept) == 0 {
		return mediaJSON
	}
	return strings.Join(kept, ",")
}

// bound returns how long an answer may take to be read, and what reads it within its bounds.
func (i *intake) bound(request *http.Request, response *http.Response, charge *charge) (life time.Duration, reader io.Reader, err error) {
	ctx := request.Context()
	media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	isJSON := err == nil && media == mediaJSON
	one := &answer{from: response.Body, ctx: ctx, charge: charge, weigher: weigher{element: elementOf(request)}, left: maxUnheld}
	switch {
	case isRefusal(response) && isJSON:
		one.from = io.LimitReader(response.Body, maxRefusal)
		return i.patience.refusal, one, nil
	case isRefusal(response): // such as what a proxy says; a text is shown and not decoded
		response.Header.Set("Content-Type", "text/plain")
		return i.patience.refusal, io.LimitReader(response.Body, maxRefusal), nil
	case !isJSON:
		return 0, nil, fmt.Errorf("content type %q: %w", response.Header.Get("Content-Type"), errUnknownMedia)
	case isWatch(request):
		return watchTimeout(request) + i.patience.watch, &stream{from: response.Body, ctx: ctx, charge: charge, weigher: one.weigher}, nil
	}
	if holdOf(ctx) != nil {
		one.left = i.most
	}
	return i.patience.list, one, nil
}

// elementOf is what an element of a list weighs: objects of groups that Scheme does not know are decoded into no type.
func elementOf(request *http.Request) int64 {
	group, isNamed := strings.CutPrefix(request.URL.Path, "/apis/")
	group, _, _ = strings.Cut(group, "/")
	if isNamed && !Scheme.IsGroupRegistered(group) {
		return untypedElement
	}
	return typedElement
}

func isRefusal(response *http.Response) bool {
	return response.StatusCode >= http.StatusMultipleChoices
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

// intakeBody is an answer within its bounds.
type intakeBody struct {
	io.Reader
	body io.Closer
	end  func()
	once sync.Once
}

// Close implements io.Closer.
func (b *intakeBody) Close() error {
	b.once.Do(b.end)
	return b.body.Close()
}

// pace waits until the tenant may have so much read.
func (i *intake) pace(ctx context.Context, bytes int, weight int64) error {
	return i.bytes.WaitN(ctx, min(max(bytes, int(weight/usualWeight)), intakeBurst))
}

package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// TestLateWatches: watches that are behind, of bindings more than of spaces, make the controller wrong for a while: it has made a binding
// that it does not see. In the end the space is Ready and stays so.
func TestLateWatches(t *testing.T) {
	t.Parallel()
	h := tenancytest.NewHost(t, nil)
	var isLate atomic.Bool
	config := h.AgentConfig()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			response, err := next.RoundTrip(request)
			if err != nil || request.URL.Query().Get("watch") == "" {
				return response, err
			}
			switch {
			case strings.HasSuffix(request.URL.Path, "/spaces"):
				response.Body = late(request.Context(), response.Body, time.Second, &isLate)
			case strings.HasSuffix(request.URL.Path, "/rolebindings"):
				response.Body = late(request.Context(), response.Body, 1500*time.Millisecond, &isLate)
			}
			return response, nil
		})
	})
	h.StartAgent(t, tenancytest.Parts{Config: config})
	h.Create(t, newAccount("late", user("lisa")))
	createSpace(t, h, h.As(t, "lisa"), "late-first", "late")
	awaitReady(t, h, "late-first")
	isLate.Store(true)
	createSpace(t, h, h.As(t, "lisa"), "late-second", "late")
	said := map[string]bool{}
	began, since := time.Now(), time.Time{}
	h.Eventually(t, "the space is Ready and stays so", func() error {
		var space tenancyv1alpha1.Space
		if err := h.Admin.Get(t.Context(), client.ObjectKey{Name: "late-second"}, &space); err != nil {
			return err
		}
		condition := apimeta.FindStatusCondition(space.Status.Conditions, tenancyv1alpha1.ConditionReady)
		if condition == nil {
			return fmt.Errorf("nothing is said yet")
		}
		said[condition.Message] = true
		if condition.Status != "True" {
			since = time.Time{}
			return fmt.Errorf("it is %s: %s", condition.Reason, condition.Message)
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < 5*time.Second {
			return fmt.Errorf("it is Ready since %s", time.Since(since))
		}
		return nil
	})
	t.Logf("Ready for good after %s; said was %v", since.Sub(began), said)
	if !said["The rights of the members are being made"] {
		t.Error("the controller was never wrong, so that this tested nothing")
	}
}

// late hands on what a body has some time after it has come, while it is to be late.
func late(ctx context.Context, body io.ReadCloser, by time.Duration, isLate *atomic.Bool) io.ReadCloser {
	type piece struct {
		at    time.Time
		bytes []byte
		err   error
	}
	pieces := make(chan piece, 1000)
	go func() {
		defer close(pieces)
		for {
			buffer := make([]byte, 32<<10)
			n, err := body.Read(buffer)
			select {
			case pieces <- piece{time.Now(), buffer[:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	reader, writer := io.Pipe()
	go func() {
		defer writer.Close()
		for piece := range pieces {
			if isLate.Load() {
				select {
				case <-time.After(by - time.Since(piece.at)):
				case <-ctx.Done():
				}
			}
			if _, err := writer.Write(piece.bytes); err != nil {
				return
			}
			if piece.err != nil {
				writer.CloseWithError(piece.err)
				return
			}
		}
	}()
	return bodyOf{reader, func() error {
		reader.Close()
		return body.Close()
	}}
}

type bodyOf struct {
	io.Reader
	close func() error
}

// Close implements io.Closer.
func (b bodyOf) Close() error { return b.close() }

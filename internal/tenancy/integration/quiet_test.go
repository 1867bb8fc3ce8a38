package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// TestSecondLookWritesNothing: an agent that starts finds everything in place and leaves it alone.
func TestSecondLookWritesNothing(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	stop := h.StartAgent(t, tenancytest.Parts{})
	account := newAccount("settled", user("sue"), user("sid"))
	account.Spec.Spaces.Initial = []string{"settled-a"}
	account.Spec.Spaces.Limit = new(int32(2))
	h.Create(t, account)
	h.Create(t, newSpace("settled-b", "settled"))
	h.Create(t, newSpace("settled-c", "settled"))
	h.Eventually(t, "two are ready and one waits", func() error {
		if ready := spacesWith(t, h, "Ready"); len(ready) != 2 {
			return fmt.Errorf("ready are %v", ready)
		}
		if waiting := spacesWith(t, h, tenancyv1alpha1.ReasonLimitReached); len(waiting) != 1 {
			return fmt.Errorf("waiting are %v", waiting)
		}
		return wantSpaces(getAccount(t, h, "settled"), 2)
	})
	awaitRole(t, h)
	awaitQuiet(t, h, "settled")
	stop()

	var mu sync.Mutex
	var writes []string
	config := h.AgentConfig()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if request.Method != http.MethodGet && strings.Contains(request.URL.Path, "settled") {
				mu.Lock()
				writes = append(writes, request.Method+" "+request.URL.Path)
				mu.Unlock()
			}
			return next.RoundTrip(request)
		})
	})
	h.StartAgent(t, tenancytest.Parts{Config: config})
	// All that was there when it started comes before what is made later.
	h.Create(t, newAccount("later", user("lou")))
	h.Create(t, newSpace("later-a", "later"))
	awaitReady(t, h, "later-a")
	mu.Lock()
	defer mu.Unlock()
	if len(writes) > 0 {
		t.Errorf("it has written %v", writes)
	}
}

// awaitQuiet waits until nobody writes an account and the spaces any more: one that is ready may for a moment be said not to be, since a
// watch is behind. It takes a hundred looks in a row, which are two seconds at least, so that a test that stood still does not take that
// for quiet.
func awaitQuiet(t *testing.T, h *tenancytest.Host, account string) {
	t.Helper()
	const looks = 100
	var last []string
	same := 0
	h.Eventually(t, "nothing is written any more", func() error {
		var spaces tenancyv1alpha1.SpaceList
		if err := h.Admin.List(t.Context(), &spaces); err != nil {
			return err
		}
		versions := []string{getAccount(t, h, account).ResourceVersion}
		for _, space := range spaces.Items {
			versions = append(versions, space.ResourceVersion)
		}
		if !slices.Equal(versions, last) {
			last, same = versions, 0
		}
		if same++; same < looks {
			return fmt.Errorf("the versions are %v at %d looks", versions, same)
		}
		return nil
	})
}

// awaitRole waits until the role of the account names all three spaces, which is the last thing to be written.
func awaitRole(t *testing.T, h *tenancytest.Host) {
	t.Helper()
	sue := h.As(t, "sue")
	h.Eventually(t, "sue finds her spaces", func() error {
		_, spaces, err := mine(t.Context(), sue)
		if err != nil {
			return err
		}
		if len(spaces) != 3 {
			return fmt.Errorf("they are %v", spaces)
		}
		return nil
	})
}

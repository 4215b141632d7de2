package tlsmgr

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

// tally counts what an observer is told.
type tally struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *tally) add(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[key]++
}

func (c *tally) Attempted(issuer, code string) { c.add("order " + issuer + " " + code) }
func (c *tally) Called(credential string, status int) {
	c.add(fmt.Sprint("call ", credential, " ", status))
}
func (c *tally) CalledCA(status int)          { c.add(fmt.Sprint("ca ", status)) }
func (c *tally) Visible(time.Duration)        { c.add("visible") }
func (c *tally) TokenTaken(credential string) { c.add("token " + credential) }
func (c *tally) count(key string) int         { c.mu.Lock(); defer c.mu.Unlock(); return c.seen[key] }

func TestTheObserverIsToldOfOrdersCallsAndPropagation(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	seen := &tally{seen: make(map[string]int)}
	r.manager.observer = seen
	r.apply(r.settings("app.example.com"))
	stop := r.run()
	r.log.await(t, 1, "certificate obtained", "app.example.com")
	stop()
	if seen.count("order acme ") != 1 || seen.count("visible") != 1 {
		t.Errorf("told %v", seen.seen)
	}
	if seen.count("ca 200") < 5 || seen.count("ca 201") < 2 { // account and order are made
		t.Errorf("told of the CA's answers: %v", seen.seen)
	}
	calls := 0
	for _, credential := range r.manager.Credentials() {
		calls += seen.count("call " + credential.Name + " 200")
		if credential.CallsLeft < 100 || credential.CallsLeft > 200 {
			t.Errorf("%s has %d calls left", credential.Name, credential.CallsLeft)
		}
	}
	if calls < 3 {
		t.Errorf("told of %d calls: %v", calls, seen.seen)
	}
}

func TestCodesOfFailuresAreAClosedSet(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("order: %w", acme.Problem{Type: acme.ProblemTypeNamespace + "rateLimited"}), "rateLimited"},
		{acme.Problem{Type: "https://ca.example/whatever-7"}, "other"},
		{fmt.Errorf("record: %w", &cloudflare.APIError{}), "cloudflare"},
		{&cloudflare.NetworkError{}, "cloudflare_network"},
		{errors.New("text 4711"), "other"},
		{nil, ""},
	} {
		if got := codeOf(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

package tlsmgr

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

func TestEachStepOfAnOrderIsOneLineThatSaysWhoseItIs(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	r.apply(r.settings("app.example.com", "*.wild.example.com"))
	stop := r.run()
	for _, name := range []string{"app.example.com", "*.wild.example.com"} {
		r.log.await(t, 1, "certificate obtained", name)
		if err := r.manager.Renew(name); err != nil {
			t.Fatal(err)
		}
		r.log.await(t, 1, "certificate renewed", name)
	}
	stop()
	once := []string{
		"certificate ordered", "challenge record created", "challenge record is visible", "challenge record deleted", "challenge validated",
		"certificate issued", "certificate stored",
	}
	want := slices.Concat(once, []string{"certificate obtained"}, once, []string{"certificate renewed"})
	for _, name := range []string{"app.example.com", "*.wild.example.com"} {
		var got []string
		for _, l := range r.log.lines {
			if l.fields["identifier"] != name || !slices.Contains(want, l.Message) || strings.HasPrefix(l.LoggerName, "certmagic") {
				continue
			}
			got = append(got, l.Message)
			duration, ok := l.fields["duration_ms"].(int64)
			if !ok || duration < 0 || duration > patience.Milliseconds() || l.fields["credential"] != "com" || l.fields["zone"] != "example.com" {
				t.Errorf("not whole: %s", l.text)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: steps\n%q, want\n%q", name, got, want)
		}
	}
}

func TestOneCauseForManyNamesIsToldSomeTimesAndThenCounted(t *testing.T) {
	r := newRig(t, acmetest.Options{})
	r.world.API.RevokeToken(tokenCom)
	var names []string
	for i := range 25 {
		names = append(names, fmt.Sprintf("n%d.example.com", i))
	}
	ended := make(chan string, 1000)
	r.manager.observer = failures{&tally{seen: make(map[string]int)}, ended}
	r.apply(r.settings(append(names, "app.example.net")...))
	stop := r.run()
	r.log.await(t, repeatBurst, "certificate not obtained", "")
	r.log.await(t, 1, "certificate obtained", "app.example.net")
	failed := 0
	for deadline := time.After(patience); failed < len(names); {
		select {
		case <-ended:
			failed++
		case <-deadline:
			t.Fatalf("%d names failed, want %d", failed, len(names))
		}
	}
	stop()
	if lines := r.log.find("certificate not obtained", ""); len(lines) != repeatBurst {
		t.Errorf("%d lines of one cause, want %d:\n%s", len(lines), repeatBurst, r.log)
	}
}

// failures tells of orders that failed.
type failures struct {
	*tally
	ended chan string
}

func (f failures) Attempted(_, code string) {
	if code != "" {
		f.ended <- code
	}
}

func TestRepeatsAreToldWithACountLater(t *testing.T) {
	r := repeats{seen: make(map[string]*repeat)}
	now := time.Now()
	for i := range 100 {
		name := fmt.Sprintf("n%d.test", i)
		if held, ok := r.admit(name, "com", "no record for "+name, now); ok != (i < repeatBurst) || held != 0 {
			t.Fatalf("failure %d: held %d, written %t", i, held, ok)
		}
	}
	if _, ok := r.admit("n1.test", "com", "another cause", now); !ok {
		t.Error("another cause was held back")
	}
	if _, ok := r.admit("n1.test", "net", "no record for n1.test", now); !ok {
		t.Error("another credential's failure was held back")
	}
	if held, ok := r.admit("n1.test", "com", "no record for n1.test", now.Add(repeatInterval)); !ok || held != 100-repeatBurst {
		t.Errorf("a minute later: held %d, written %t", held, ok)
	}
	for i := range 3 * repeatsKept {
		r.admit("a.test", "com", fmt.Sprint("cause ", i), now)
	}
	if len(r.seen) > repeatsKept {
		t.Errorf("%d causes are kept", len(r.seen))
	}
}

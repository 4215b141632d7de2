package limit

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// DefaultKeys is for how many keys a [Rate] keeps count if RateOptions.Keys is
// zero: 2^20 take 16 MiB, when there are as many.
const DefaultKeys = 1 << 20

// RateOptions shape a [Rate]. They are comparable: equal options may share one.
type RateOptions struct {
	// Name is the name of the policy in the RateLimit fields, of printable
	// ASCII without quotes and backslashes.
	Name string

	// Key says whose requests count together.
	Key Key

	// Requests in the time Per is the rate at which the bucket fills: 5 in a
	// minute are one every 12 seconds. Both are above zero.
	Requests int
	Per      time.Duration

	// Burst is the size of the bucket: how many requests may come at once
	// after a pause. Zero is Requests; negative is an error.
	Burst int

	// Keys bounds for how many keys there is a count, at 16 bytes each (rounded
	// up to a power of two times 512). When more than these are in use at once
	// the ones that used least are forgotten, which forgives them what they
	// used. Zero is [DefaultKeys]; negative is an error.
	Keys int

	// Announce adds the RateLimit fields to every response, not only to
	// refusals.
	Announce bool

	// DryRun counts but never refuses.
	DryRun bool
}

// Rate limits the rate of requests by a token bucket for each key: a request
// takes a token, or is refused with 429 (RFC 6585 section 4) when there is
// none. A refused request takes nothing.
//
// The refusal says when to come again by Retry-After, and the policy and what
// is left of it by RateLimit-Policy and RateLimit, as revision 10 of
// draft-ietf-httpapi-ratelimit-headers has them: q is the size of the bucket
// and w in how many seconds it fills, r the tokens left and t the seconds until
// it is full.
type Rate struct {
	options  RateOptions
	keyer    *keyer
	table    *table
	interval int64 // nanoseconds for one token
	full     int64 // nanoseconds for a bucket of tokens
	policy   []string
	started  time.Time // what times in the table count from: a clock that is set does not move it
}

var errRate = &exchange.Refusal{
	Status: http.StatusTooManyRequests, Label: "rate_limited",
	Reason: "too many requests in a short time", Hint: "rate_limit says how many are allowed",
}

// NewRate returns a limiter that has seen nobody yet.
func NewRate(o RateOptions) (*Rate, error) {
	if o.Requests <= 0 || o.Per <= 0 {
		return nil, fmt.Errorf("a rate of %d requests in %v is none", o.Requests, o.Per)
	}
	if o.Burst == 0 {
		o.Burst = o.Requests
	}
	if o.Keys == 0 {
		o.Keys = DefaultKeys
	}
	if o.Burst < 0 || o.Keys < 0 {
		return nil, errors.New("burst and keys cannot be negative")
	}
	interval := int64(o.Per) / int64(o.Requests)
	if interval == 0 {
		return nil, fmt.Errorf("%d requests in %v are more than one in a nanosecond", o.Requests, o.Per)
	}
	const longest = int64(366 * 24 * time.Hour)
	if int64(o.Burst) > longest/interval {
		return nil, fmt.Errorf("a burst of %d takes more than a year to come back", o.Burst)
	}
	keyer, err := newKeyer(o.Key)
	if err != nil {
		return nil, err
	}
	full := int64(o.Burst) * interval
	return &Rate{
		options: o, keyer: keyer, table: newTable(o.Keys), interval: interval, full: full,
		policy:  []string{fmt.Sprintf(`%s;q=%d;w=%d`, strconv.Quote(o.Name), o.Burst, seconds(full))},
		started: time.Now(),
	}, nil
}

// Bytes is the most memory that the counts take, however many keys there are.
func (l *Rate) Bytes() int { return l.table.bytes() }

// taken is what taking a token came to.
type taken struct {
	allowed bool
	left    int   // tokens
	wait    int64 // nanoseconds until there is one, if it was not allowed
	reset   int64 // nanoseconds until the bucket is full
}

// take takes a token from the bucket of a key.
//
// Instead of tokens a bucket holds the time at which it is full again, which
// needs no work while nobody asks (the generic cell rate algorithm, ITU-T
// I.371): a token moves that time by one interval, and there is one as long as
// it does not get further away than the whole bucket takes to fill.
func (l *Rate) take(key uint64, now int64) (t taken) {
	l.table.update(key, now, func(full int64) int64 {
		full = max(full, now)
		if next := full + l.interval; next <= now+l.full {
			full = next
			t.allowed = true
		} else {
			t.wait = next - l.full - now
		}
		t.reset = full - now
		t.left = int((l.full - t.reset) / l.interval)
		return full
	})
	return t
}

// Wrap puts the limit before next. exceeded, if not nil, is told of each
// request that a dry run would have refused.
func (l *Rate) Wrap(next http.Handler, exceeded func(*http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := l.take(l.keyer.of(r), int64(time.Since(l.started)))
		switch {
		case t.allowed:
		case l.options.DryRun:
			if exceeded != nil {
				exceeded(r)
			}
		default:
			h := w.Header()
			h["Retry-After"] = []string{strconv.FormatInt(seconds(t.wait), 10)}
			l.announce(h, t)
			exchange.Refuse(w, r, errRate)
			return
		}
		if l.options.Announce {
			exchange.Of(r).OnHead(announcement{l, t})
		}
		next.ServeHTTP(w, r)
	})
}

// announcement adds the fields to the response of a request that was let in.
type announcement struct {
	limit *Rate
	taken taken
}

// Head implements [exchange.HeadHook].
func (a announcement) Head(_ *http.Request, _ int, h http.Header) { a.limit.announce(h, a.taken) }

// announce adds the policy to those of other limits on the way, if there are
// any: both fields are lists.
func (l *Rate) announce(h http.Header, t taken) {
	state := fmt.Sprintf(`%s;r=%d;t=%d`, strconv.Quote(l.options.Name), t.left, seconds(t.reset))
	h["Ratelimit-Policy"] = append(h["Ratelimit-Policy"][:len(h["Ratelimit-Policy"]):len(h["Ratelimit-Policy"])], l.policy...)
	h["Ratelimit"] = append(h["Ratelimit"][:len(h["Ratelimit"]):len(h["Ratelimit"])], state)
}

// seconds rounds up: who comes back after so many is not refused again.
func seconds(nanoseconds int64) int64 {
	return (nanoseconds + int64(time.Second) - 1) / int64(time.Second)
}

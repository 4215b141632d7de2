package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Cloudflare allows a user 1,200 calls in 5 minutes and blocks all of them for
// the next 5 minutes when there are more. burst + 5 minutes of the rate is
// just that number, so that no window of 5 minutes ever holds more.
const (
	callBurst  = 200
	callsEvery = 5 * time.Minute / (1200 - callBurst)
)

const (
	maxAttempts  = 4
	firstBackoff = 500 * time.Millisecond // doubled for each further attempt
	maxPause     = 30 * time.Second       // the longest Retry-After that a call waits out itself
)

// throttle paces the calls of one credential. A credential has one token at a
// time, and a new one is most often of the same Cloudflare user, so the count
// goes on when the token changes.
type throttle struct {
	limiter *rate.Limiter

	mu    sync.Mutex
	until time.Time // no call before this: the API said so
}

func newThrottle() *throttle {
	return &throttle{limiter: rate.NewLimiter(rate.Every(callsEvery), callBurst)}
}

// wait returns when a call may be made. While the API wants to be left alone for
// longer than a call would wait it returns a 429 at once: calling all the same
// would prolong the block.
func (t *throttle) wait(ctx context.Context) error {
	t.mu.Lock()
	left := time.Until(t.until)
	t.mu.Unlock()
	if left > maxPause {
		return &APIError{Kind: KindAPI, Status: http.StatusTooManyRequests, RetryAfter: left.Round(time.Second)}
	}
	if err := sleep(ctx, left); err != nil {
		return err
	}
	err := t.limiter.Wait(ctx)
	if err != nil && ctx.Err() == nil {
		// The turn would come after the deadline, for which the limiter's own
		// error has no type.
		return fmt.Errorf("%w: too many calls are waiting", context.DeadlineExceeded)
	}
	return err
}

// left is how many calls may be made at once now.
func (t *throttle) left() int {
	t.mu.Lock()
	blocked := time.Now().Before(t.until)
	t.mu.Unlock()
	if blocked {
		return 0
	}
	return max(0, int(t.limiter.Tokens()))
}

// retry says whether a failed attempt is made again, and after what pause.
//
// Every method we use may be repeated. GET and DELETE are idempotent. A POST that
// creates a TXT record and whose answer was lost finds the record there the second
// time (81057, 81058), which create takes for success.
func (t *throttle) retry(err error, attempt int) (pause time.Duration, again bool) {
	if !worthRetry(err) {
		return 0, false
	}
	// Between half the backoff and all of it: calls that failed together must
	// not come back together.
	backoff := firstBackoff << (attempt - 1)
	pause = backoff/2 + rand.N(backoff/2)
	if answer, ok := errors.AsType[*APIError](err); ok && answer.RetryAfter > 0 {
		t.hold(answer.RetryAfter)
		pause = max(pause, answer.RetryAfter)
	}
	return pause, attempt < maxAttempts && pause <= maxPause
}

// hold keeps every call back for d.
func (t *throttle) hold(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if until := time.Now().Add(d); until.After(t.until) {
		t.until = until
	}
}

// worthRetry reports whether the next attempt may end otherwise: after 429, 5xx and
// lost connections, but not after a certificate that is not trusted or a page
// that some gateway gives for every call.
func worthRetry(err error) bool {
	if answer, ok := errors.AsType[*APIError](err); ok {
		return answer.Status == http.StatusTooManyRequests || answer.Status >= 500 || answer.has(codeThrottled)
	}
	lost, ok := errors.AsType[*NetworkError](err)
	return ok && !certificateError(lost.Err) && !errors.Is(lost.Err, context.Canceled)
}

// sleep waits for d or until ctx ends, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

package tlsmgr

import (
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net/http"
	"regexp"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// When to renew and when to try again: pure functions of time.

// expiry is when a certificate stops being valid: at the end of the second that
// NotAfter names (RFC 5280 section 4.1.2.5).
func expiry(leaf *x509.Certificate) time.Time {
	return leaf.NotAfter.Truncate(time.Second).Add(time.Second)
}

// renewalTime returns when a certificate is to be renewed: at the time that was
// selected in the CA's window (RFC 9773 section 4.2) or, without one, when ratio
// of the lifetime is left. Advice never holds it beyond the last twentieth of
// the lifetime.
func renewalTime(leaf *x509.Certificate, advice *acme.RenewalInfo, ratio float64) time.Time {
	end := expiry(leaf)
	lifetime := end.Sub(leaf.NotBefore)
	if advice != nil && advice.HasWindow() && !advice.SelectedTime.IsZero() {
		if last := end.Add(-lifetime / 20); advice.SelectedTime.After(last) {
			return last
		}
		return advice.SelectedTime
	}
	return end.Add(-time.Duration(float64(lifetime) * ratio))
}

// The pause between two questions for advice, when the CA names none or an
// unreasonable one (RFC 9773 section 4.3).
const (
	advicePauseMin     = time.Minute
	advicePauseDefault = 6 * time.Hour
	advicePauseMax     = 24 * time.Hour
)

// adviceTime returns when to ask the CA for advice again.
func adviceTime(advice acme.RenewalInfo, now time.Time) time.Time {
	if advice.RetryAfter == nil {
		return now.Add(advicePauseDefault)
	}
	pause := min(max(advice.RetryAfter.Sub(now), advicePauseMin), advicePauseMax)
	return now.Add(pause)
}

// firstAdviceTime returns when to ask again for advice that was given in the
// past: at its Retry-After or, after a long stop, now.
func firstAdviceTime(advice *acme.RenewalInfo, now time.Time) time.Time {
	if advice == nil || !advice.HasWindow() || advice.RetryAfter == nil {
		return now
	}
	if latest := now.Add(advicePauseMax); advice.RetryAfter.After(latest) {
		return latest
	}
	return *advice.RetryAfter
}

// pauses are how long the first, second, ... failed attempt is followed by
// nothing; the last one holds from then on. The CA's own limits count in hours
// (Let's Encrypt: five failed authorizations per name and hour), so the first
// few are for what heals by itself and the rest for what needs a person. A new
// token, a reload and Renew cut every pause short.
var pauses = [...]time.Duration{
	5 * time.Second, 15 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
	10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour,
}

// retryTime returns when to try again after an attempt that failed with err.
// failures counts those that failed before it; expires is the end of the
// certificate that is served meanwhile, zero when there is none.
func retryTime(now time.Time, failures int, err error, expires time.Time) time.Time {
	pause := pauses[min(failures, len(pauses)-1)]
	// A fifth of jitter, so that names that failed together do not all come
	// back in the same second.
	pause += time.Duration((rand.Float64()*2 - 1) * float64(pause) / 5)
	// Of a certificate that lives for seconds there is no time to wait
	// minutes: three more tries at least before it ends.
	if left := expires.Sub(now); !expires.IsZero() && left > 0 {
		pause = min(pause, max(left/4, time.Second))
	}
	next := now.Add(pause)
	if allowed := retryAfter(err, now); allowed.After(next) {
		return allowed
	}
	return next
}

// rateLimitPause holds after a rate limit that does not say when it ends.
const rateLimitPause = 10 * time.Minute

// retryAfterText is how Let's Encrypt's rate limits say when they end. The
// Retry-After header that says the same does not get through acmez's errors.
var retryAfterText = regexp.MustCompile(`retry after (\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}) UTC`)

// retryAfter returns the time before which the CA has forbidden another try
// (RFC 8555 section 6.6), or zero.
func retryAfter(err error, now time.Time) time.Time {
	problem, ok := errors.AsType[acme.Problem](err)
	if !ok || problem.Status != http.StatusTooManyRequests && problem.Type != acme.ProblemTypeRateLimited {
		return time.Time{}
	}
	if match := retryAfterText.FindStringSubmatch(problem.Detail); match != nil {
		if at, err := time.Parse(time.DateTime, match[1]); err == nil {
			return at
		}
	}
	return now.Add(rateLimitPause)
}

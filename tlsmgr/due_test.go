package tlsmgr

import (
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

func TestRenewalTime(t *testing.T) {
	const day = 24 * time.Hour
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	advice := func(selected time.Time) *acme.RenewalInfo {
		info := &acme.RenewalInfo{SelectedTime: selected}
		info.SuggestedWindow.Start, info.SuggestedWindow.End = selected.Add(-time.Hour), selected.Add(time.Hour)
		return info
	}
	tests := []struct {
		name     string
		lifetime time.Duration
		advice   *acme.RenewalInfo
		ratio    float64
		want     time.Duration // after begin
	}{
		{"a third of 90 days is left", 90 * day, nil, 1.0 / 3, 60 * day},
		{"half of 20 seconds is left", 20 * time.Second, nil, 0.5, 10 * time.Second},
		{"advice beats the ratio", 90 * day, advice(begin.Add(70 * day)), 1.0 / 3, 70 * day},
		{"advice to renew at once", 90 * day, advice(begin.Add(-day)), 1.0 / 3, -day},
		{"advice beyond the last twentieth", 100 * day, advice(begin.Add(99 * day)), 1.0 / 3, 95 * day},
		{"advice without a window", 90 * day, &acme.RenewalInfo{}, 1.0 / 3, 60 * day},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// NotAfter names the last second that is still valid.
			leaf := &x509.Certificate{NotBefore: begin, NotAfter: begin.Add(test.lifetime - time.Second)}
			got := renewalTime(leaf, test.advice, test.ratio).Sub(begin)
			if diff := got - test.want; diff < -time.Second || diff > time.Second {
				t.Errorf("renewed after %v, want %v", got, test.want)
			}
		})
	}
}

func TestRetryTime(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	limited := func(detail string) error {
		return fmt.Errorf("ordering: %w", acme.Problem{Type: acme.ProblemTypeRateLimited, Status: 429, Detail: detail})
	}
	tests := []struct {
		name        string
		failures    int
		err         error
		expires     time.Duration // 0: nothing is served
		least, most time.Duration
	}{
		{"first", 0, errors.New("x"), 0, 4 * time.Second, 6 * time.Second},
		{"third", 2, errors.New("x"), 0, 48 * time.Second, 72 * time.Second},
		{"hundredth", 99, errors.New("x"), 0, 288 * time.Minute, 432 * time.Minute},
		{"while a certificate of 90 days is renewed", 9, errors.New("x"), 30 * 24 * time.Hour, 288 * time.Minute, 432 * time.Minute},
		{"while one of 20 seconds is renewed", 9, errors.New("x"), 8 * time.Second, 2 * time.Second, 2 * time.Second},
		{"at the very end", 9, errors.New("x"), time.Second, time.Second, time.Second},
		{"after the end", 0, errors.New("x"), -time.Hour, 4 * time.Second, 6 * time.Second},
		{"rate limit that says when", 0, limited("too many, retry after 2026-01-01 03:00:00 UTC: see"), 0, 3 * time.Hour, 3 * time.Hour},
		{"rate limit that does not", 0, limited("too many"), 0, 10 * time.Minute, 10 * time.Minute},
		{"rate limit shorter than the pause", 9, limited("retry after 2026-01-01 00:00:01 UTC"), 0, 288 * time.Minute, 432 * time.Minute},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expires := time.Time{}
			if test.expires != 0 {
				expires = now.Add(test.expires)
			}
			if got := retryTime(now, test.failures, test.err, expires).Sub(now); got < test.least || got > test.most {
				t.Errorf("next try after %v, want %v to %v", got, test.least, test.most)
			}
		})
	}
}

func TestAdviceIsAskedForNeitherTooOftenNorTooSeldom(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for wait, want := range map[time.Duration]time.Duration{
		time.Second:         time.Minute,
		-time.Hour:          time.Minute,
		6 * time.Hour:       6 * time.Hour,
		30 * 24 * time.Hour: 24 * time.Hour,
	} {
		at := now.Add(wait)
		if got := adviceTime(acme.RenewalInfo{RetryAfter: &at}, now).Sub(now); got != want {
			t.Errorf("Retry-After of %v: asked again after %v, want %v", wait, got, want)
		}
	}
	if got := adviceTime(acme.RenewalInfo{}, now).Sub(now); got != 6*time.Hour {
		t.Errorf("without Retry-After: asked again after %v", got)
	}
}

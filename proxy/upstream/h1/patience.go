package h1

import (
	"context"
	"time"
)

type patienceKey struct{}

// WithResponseHeaderTimeout returns a context for requests that wait for
// another time for the head of their response than
// [Options.ResponseHeaderTimeout] says. Zero is no limit.
func WithResponseHeaderTimeout(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey{}, d)
}

// ResponseHeaderTimeout returns the time of [WithResponseHeaderTimeout], or
// otherwise if there is none.
func ResponseHeaderTimeout(ctx context.Context, otherwise time.Duration) time.Duration {
	if d, ok := ctx.Value(patienceKey{}).(time.Duration); ok {
		return d
	}
	return otherwise
}

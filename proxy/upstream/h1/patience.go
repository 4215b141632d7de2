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
	if _, ok := ctx.(afterFuncer); ok {
		return &patient{ctx, d}
	}
	return context.WithValue(ctx, patienceKey{}, d)
}

// patient is an [afterFuncer] with a limit of its own. [context.WithValue] would
// hide its method: then a goroutine would have to wait for the end, and might
// look at the context after the request is over.
type patient struct {
	context.Context
	limit time.Duration
}

// Value implements [context.Context].
func (p *patient) Value(key any) any {
	if key == (patienceKey{}) {
		return p.limit
	}
	return p.Context.Value(key)
}

// AfterFunc implements [afterFuncer].
func (p *patient) AfterFunc(f func()) func() bool { return p.Context.(afterFuncer).AfterFunc(f) }

// afterFuncer is a context that calls functions at its end by itself, as
// [context.AfterFunc] says.
type afterFuncer interface{ AfterFunc(func()) func() bool }

// ResponseHeaderTimeout returns the time of [WithResponseHeaderTimeout], or
// otherwise if there is none.
func ResponseHeaderTimeout(ctx context.Context, otherwise time.Duration) time.Duration {
	if d, ok := ctx.Value(patienceKey{}).(time.Duration); ok {
		return d
	}
	return otherwise
}

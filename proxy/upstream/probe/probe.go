package probe

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options says how to ask and which answer is good. Values can be compared
// with ==.
type Options struct {
	// Path is what is asked for, with its query. Empty is "/".
	Path string

	// Host is sent as Host. Required: HTTP/1.1 wants one.
	Host string

	// StatusMin and StatusMax are the least and the greatest good status.
	StatusMin, StatusMax int

	// Body must be found in the first 64 KiB of the answer's body. Empty:
	// anything will do.
	Body string

	// GRPC asks by the gRPC health protocol instead, for the server as a
	// whole. Of the above only Host counts then.
	GRPC bool

	// Timeout bounds the question and its answer. Zero is no limit.
	Timeout time.Duration
}

// mostBody is how much of an answer is looked at.
const mostBody = 64 << 10

// BadAnswer is the error of a server that answered, but not well.
type BadAnswer struct{ Text string }

// Error says what was wrong with the answer.
func (e *BadAnswer) Error() string { return e.Text }

func bad(format string, values ...any) error { return &BadAnswer{fmt.Sprintf(format, values...)} }

// Check asks once. The error is a [*BadAnswer] if the server answered, else
// what to returned.
func Check(ctx context.Context, to http.RoundTripper, o Options) error {
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	if o.GRPC {
		return checkGRPC(ctx, to, o)
	}
	return checkHTTP(ctx, to, o)
}

func checkHTTP(ctx context.Context, to http.RoundTripper, o Options) error {
	path := o.Path
	if path == "" {
		path = "/"
	}
	res, err := to.RoundTrip(request(ctx, http.MethodGet, path, o.Host))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode < o.StatusMin || res.StatusCode > o.StatusMax {
		return bad("the health check got status %d, want %d to %d", res.StatusCode, o.StatusMin, o.StatusMax)
	}
	if o.Body == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, mostBody))
	if err != nil {
		return fmt.Errorf("reading the answer of the health check: %w", err)
	}
	if !bytes.Contains(body, []byte(o.Body)) {
		return bad("the answer to the health check does not contain %q", o.Body)
	}
	return nil
}

// request makes a request in the form that servers of package upstream take:
// the target in Opaque, scheme and host left to them.
func request(ctx context.Context, method, path, host string) *http.Request {
	path, query, has := strings.Cut(path, "?")
	return (&http.Request{
		Method: method, URL: &url.URL{Opaque: path, RawQuery: query, ForceQuery: has}, Host: host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {"sallyport-health"}},
	}).WithContext(ctx)
}

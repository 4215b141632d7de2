package accesslog

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Format is how a line looks.
type Format string

// The formats.
const (
	JSON     Format = "json"
	Combined Format = "combined" // as nginx and Apache name it
)

// Options shapes a Log.
type Options struct {
	// Format is JSON or Combined; "" is JSON.
	Format Format

	// Sink takes each line in one Write. Required. It must not block.
	Sink io.Writer

	// Sample is the share of requests that are logged, above 0 and at most 1.
	// 0 is 1. Requests that failed on our side or the server's (5xx) are always
	// logged.
	Sample float64

	// Exclude lists paths that are not logged unless they fail: exact, or a
	// subtree with a slash at its end.
	Exclude []string

	// RedactQuery lists the query keys whose values are masked, in any case.
	RedactQuery []string

	// Headers lists request fields to log, in JSON only.
	Headers []string

	// Reveal lists fields of Headers that are logged in the clear although they
	// are among those that hold secrets: see Secretive.
	Reveal []string
}

// mask stands in the place of what is not to be read.
const mask = "***"

// Secretive lists the request fields whose values are masked in a log.
func Secretive() []string {
	return []string{"Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key", "X-Auth-Token", "X-Csrf-Token"}
}

// Log writes lines. It is safe for concurrent use.
type Log struct {
	options Options
	exact   map[string]bool
	subtree []string
	query   map[string]bool
	headers []header
	buffers sync.Pool // of *[]byte
}

type header struct {
	name, key string // X-Api-Key, x_api_key
	masked    bool
}

// New returns a log. An error is about the options.
func New(o Options) (*Log, error) {
	if o.Sink == nil {
		return nil, fmt.Errorf("an access log needs somewhere to write to")
	}
	if o.Format == "" {
		o.Format = JSON
	}
	if o.Format != JSON && o.Format != Combined {
		return nil, fmt.Errorf("unknown access log format %q", o.Format)
	}
	if o.Sample < 0 || o.Sample > 1 {
		return nil, fmt.Errorf("the share of requests to log is %v, not above 0 and at most 1", o.Sample)
	}
	l := &Log{options: o, exact: make(map[string]bool), query: make(map[string]bool)}
	l.buffers.New = func() any { return new([]byte) }
	for _, path := range o.Exclude {
		if strings.HasSuffix(path, "/") && path != "/" {
			l.subtree = append(l.subtree, path)
		} else {
			l.exact[path] = true
		}
	}
	for _, key := range o.RedactQuery {
		l.query[strings.ToLower(key)] = true
	}
	for _, name := range o.Headers {
		name = textproto.CanonicalMIMEHeaderKey(name)
		secret := slices.Contains(Secretive(), name) && !slices.ContainsFunc(o.Reveal, func(r string) bool { return strings.EqualFold(r, name) })
		l.headers = append(l.headers, header{name, strings.ReplaceAll(strings.ToLower(name), "-", "_"), secret})
	}
	return l, nil
}

// Began does nothing: a line is written at the end.
func (l *Log) Began(*http.Request, *exchange.Exchange) {}

// Done writes the line of a request that has been answered, or not.
func (l *Log) Done(r *http.Request, x *exchange.Exchange, took time.Duration) {
	if x.Status < 500 && (l.excluded(x.Target) || l.options.Sample > 0 && l.options.Sample < 1 && rand.Float64() >= l.options.Sample) {
		return
	}
	buffer := l.buffers.Get().(*[]byte)
	line := (*buffer)[:0]
	if l.options.Format == Combined {
		line = l.combined(line, r, x)
	} else {
		line = l.json(line, r, x, took)
	}
	_, _ = l.options.Sink.Write(line) // it counts what it drops
	if cap(line) <= 16<<10 {
		*buffer = line
		l.buffers.Put(buffer)
	}
}

func (l *Log) excluded(target string) bool {
	if len(l.exact) == 0 && len(l.subtree) == 0 {
		return false
	}
	path, _, _ := strings.Cut(target, "?")
	if l.exact[path] {
		return true
	}
	for _, prefix := range l.subtree {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// redact appends a request target with the values of secret query keys masked.
// A key is compared as it is meant, not as it is written: %74oken is token.
func (l *Log) redact(target string) string {
	path, query, has := strings.Cut(target, "?")
	if !has || len(l.query) == 0 {
		return target
	}
	var out strings.Builder
	out.WriteString(path)
	separator := byte('?')
	changed := false
	for part := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
		key, _, valued := strings.Cut(part, "=")
		out.WriteByte(separator)
		separator = '&'
		if valued && l.query[strings.ToLower(unescape(key))] {
			out.WriteString(key + "=" + mask)
			changed = true
			continue
		}
		out.WriteString(part)
	}
	if !changed {
		return target
	}
	return out.String()
}

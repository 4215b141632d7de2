package accesslog

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/internal/tracecontext"
)

// mostValue bounds, in bytes, what of one value of a client's goes into a
// line.
const mostValue = 2048

// json appends one line of JSON. Keys are fixed, and those without a value are
// left out; "status" 0 means that nobody was there to be answered.
func (l *Log) json(line []byte, r *http.Request, x *exchange.Exchange, took time.Duration) []byte {
	line = append(line, `{"time":"`...)
	line = x.Started.UTC().AppendFormat(line, "2006-01-02T15:04:05.000Z")
	line = append(line, `","request_id":"`...)
	line = append(line, x.ID...) // ours: nothing to escape
	line = append(line, `","client":"`...)
	line = x.Client.AppendTo(line)
	line = append(line, '"')
	if x.Peer.Addr().Unmap() != x.Client {
		line = append(line, `,"peer":"`...)
		line = x.Peer.Addr().Unmap().AppendTo(line)
		line = append(line, '"')
	}
	line = text(line, "user", x.User)
	line = text(line, "method", r.Method)
	line = text(line, "scheme", x.Scheme())
	line = text(line, "host", r.Host)
	line = text(line, "target", l.redact(x.Target))
	line = text(line, "protocol", r.Proto)
	line = number(line, "status", int64(x.Status))
	line = number(line, "bytes", x.Sent)
	line = milliseconds(line, "duration_ms", took)
	line = text(line, "site", x.Site)
	line = text(line, "route", x.Route)
	line = text(line, "upstream", x.Upstream)
	line = text(line, "server", x.Server)
	if x.Attempts > 0 {
		line = number(line, "attempts", int64(x.Attempts))
		line = milliseconds(line, "upstream_ms", x.UpstreamTime)
	}
	line = text(line, "failure", x.Failure)
	line = text(line, "trace_id", traceID(r))
	if r.TLS != nil {
		line = text(line, "tls", tls.VersionName(r.TLS.Version))
	}
	line = text(line, "referer", l.referer(r))
	line = text(line, "user_agent", r.Header.Get("User-Agent"))
	for _, h := range l.headers {
		value := r.Header.Get(h.name)
		if value != "" && h.masked {
			value = mask
		}
		line = text(line, h.key, value)
	}
	return append(line, '}', '\n')
}

// traceID returns the trace that a request belongs to, by its traceparent, or
// "": what is not well-formed is nobody's trace.
func traceID(r *http.Request) string {
	parent, _ := tracecontext.Parse(r.Header["Traceparent"])
	return parent.Trace
}

// combined appends one line as nginx's log_format combined has it.
func (l *Log) combined(line []byte, r *http.Request, x *exchange.Exchange) []byte {
	line = x.Client.AppendTo(line)
	line = append(line, " - "...)
	line = append(plain(line, x.User), " ["...)
	line = x.Started.AppendFormat(line, "02/Jan/2006:15:04:05 -0700")
	line = append(line, `] "`...)
	line = append(escaped(line, r.Method), ' ')
	line = append(escaped(line, l.redact(x.Target)), ' ')
	line = append(escaped(line, r.Proto), `" `...)
	line = strconv.AppendInt(line, int64(x.Status), 10)
	line = append(line, ' ')
	line = strconv.AppendInt(line, x.Sent, 10)
	line = append(line, ` "`...)
	line = append(plain(line, l.referer(r)), `" "`...)
	return append(plain(line, r.Header.Get("User-Agent")), '"', '\n')
}

// referer is the Referer, which may be an address of ours with a secret in it.
func (l *Log) referer(r *http.Request) string { return l.redact(r.Header.Get("Referer")) }

func text(line []byte, key, value string) []byte {
	if value == "" {
		return line
	}
	line = append(line, ',', '"')
	line = append(line, key...)
	line = append(line, `":"`...)
	return append(quoted(line, value), '"')
}

func number(line []byte, key string, n int64) []byte {
	line = append(line, ',', '"')
	line = append(line, key...)
	line = append(line, '"', ':')
	return strconv.AppendInt(line, n, 10)
}

func milliseconds(line []byte, key string, d time.Duration) []byte {
	line = append(line, ',', '"')
	line = append(line, key...)
	line = append(line, '"', ':')
	return strconv.AppendFloat(line, float64(d.Microseconds())/1000, 'f', 3, 64)
}

const (
	hexDigits   = "0123456789abcdef"
	upperDigits = "0123456789ABCDEF"
)

// quoted appends s as it stands between the quotes of a JSON string (RFC 8259
// section 7). What is not UTF-8 becomes U+FFFD. DEL and the C1 controls are
// escaped too: a terminal obeys them.
func quoted(line []byte, s string) []byte {
	s = s[:min(len(s), mostValue)]
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			line = append(line, '\\', c)
		case c < ' ' || c == 0x7f:
			line = append(line, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			line = append(line, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				line = append(line, `\ufffd`...)
			case r < 0xa0:
				line = append(line, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
			default:
				line = append(line, s[i:i+size]...)
			}
			i += size
			continue
		}
		i++
	}
	return line
}

// plain is escaped, with nginx's "-" for nothing.
func plain(line []byte, s string) []byte {
	if s == "" {
		return append(line, '-')
	}
	return escaped(line, s)
}

// escaped appends s as nginx does by default: what is no printable ASCII, and
// the characters " and \, as \xHH.
func escaped(line []byte, s string) []byte {
	for i := range min(len(s), mostValue) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			line = append(line, '\\', 'x', upperDigits[c>>4], upperDigits[c&15])
		} else {
			line = append(line, c)
		}
	}
	return line
}

// unescape decodes a query key, or leaves it as it is.
func unescape(key string) string {
	if plain, err := url.QueryUnescape(key); err == nil {
		return plain
	}
	return key
}

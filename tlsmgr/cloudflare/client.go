package cloudflare

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config/secret"
)

// libraryURL is the address that libdns/cloudflare has built in. Our own calls
// use it too, so that all of them take the one way through rewrite.
const libraryURL = "https://api.cloudflare.com/client/v4"

const (
	maxAnswerBytes = 1 << 20 // one answer; a zone's is 2 KiB
	attemptTimeout = 30 * time.Second
)

// endpoint is what the calls of one credential share, whatever the token of the
// day: connections, the limiter and the address.
type endpoint struct {
	credential string
	source     string // for the texts of errors
	base       *url.URL
	http       *http.Client
	throttle   *throttle
	log        *zap.Logger
	observer   Observer
}

// newEndpoint checks the address and makes the HTTP client. Nothing in it comes from
// a default that consults the environment: no proxy, no system roots, no resolver
// but ours. It speaks HTTP/1.1 only, because net/http's HTTP/2 prints headers,
// the token among them, under GODEBUG=http2debug.
func newEndpoint(c Credential, resolver *net.Resolver, log *zap.Logger) (*endpoint, error) {
	address := c.APIURL
	if address == "" {
		address = libraryURL
	}
	base, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil || base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("api_url must be an https:// address without user, query and fragment")
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Resolver: resolver}
	return &endpoint{
		credential: c.Name,
		source:     c.Source.String(),
		base:       base,
		throttle:   newThrottle(),
		log:        log,
		observer:   nobody{},
		http: &http.Client{
			Timeout: attemptTimeout,
			// A redirect is an error: nobody but the API's own address is
			// shown the token.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy:                  func(*http.Request) (*url.URL, error) { return nil, nil },
				DialContext:            dialer.DialContext,
				TLSClientConfig:        &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
				TLSHandshakeTimeout:    10 * time.Second,
				ResponseHeaderTimeout:  20 * time.Second,
				IdleConnTimeout:        30 * time.Second,
				MaxIdleConnsPerHost:    8,
				MaxResponseHeaderBytes: 64 << 10,
				Protocols:              protocols,
			},
		},
	}, nil
}

// client makes the calls of one token for one zone. It is the HTTPClient that
// libdns is given; libdns itself never sees the token.
type client struct {
	*endpoint
	token secret.Text
	zone  string // for the texts of errors; empty for calls about the token

	mu    sync.Mutex
	known zoneAnswer // what the last zone lookup brought
	asked time.Time  // when that was; zero for never
}

// zoneAnswer is the part of the API's zone that matters here.
type zoneAnswer struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Status      string   `json:"status"`
	Type        string   `json:"type"`
	NameServers []string `json:"name_servers"`
	Account     struct {
		ID string `json:"id"`
	} `json:"account"`
}

// Do sends a request of libdns to the configured address with this client's
// token, waits for the limiter, tries again what is worth it and returns a
// *APIError or *NetworkError for every answer that is not a success. The body of a
// success is complete JSON in memory.
//
// Every failure is also left in the context's errorSink: libdns drops some.
func (c *client) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.do(req)
	if err != nil {
		sinkOf(req.Context()).put(err)
	}
	return resp, err
}

func (c *client) do(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	for attempt := 1; ; attempt++ {
		if err := c.throttle.wait(ctx); err != nil {
			return nil, c.stopped(req, err)
		}
		resp, err := c.once(req, attempt)
		if err == nil {
			return resp, nil
		}
		pause, again := c.throttle.retry(err, attempt)
		if !again {
			return nil, err
		}
		if sleep(ctx, pause) != nil {
			return nil, err // the API's answer says more than "context canceled"
		}
	}
}

// stopped is the error for a call that was not sent because the limiter or the
// context did not let it.
func (c *client) stopped(req *http.Request, err error) error {
	if e, ok := errors.AsType[*APIError](err); ok {
		e.Credential, e.Zone, e.Method, e.Path = c.credential, c.zone, req.Method, c.path(req)
		e.explain(c.source)
		return e
	}
	return c.networkError(err)
}

func (c *client) networkError(err error) error {
	// url.Error repeats method and URL, whose query is long and says nothing here.
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return &NetworkError{Credential: c.credential, Zone: c.zone, Host: c.base.Host, Err: err}
}

// once makes one attempt.
func (c *client) once(req *http.Request, attempt int) (*http.Response, error) {
	out, err := c.rewrite(req)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	resp, err := c.http.Do(out)
	status := 0
	var body []byte
	if err == nil {
		status = resp.StatusCode
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
		_ = resp.Body.Close() // read as far as it is wanted
	}
	c.observer.Called(c.credential, status)
	c.log.Debug("cloudflare api call",
		zap.String("method", req.Method), zap.String("path", c.path(req)), zap.Int("status", status),
		zap.Int("attempt", attempt), zap.Int64("duration_ms", time.Since(start).Milliseconds()), zap.Error(err))
	if err != nil {
		return nil, c.networkError(err)
	}
	if err := c.check(req, resp, body); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// path is the request's path below the API's address, without the query.
func (c *client) path(req *http.Request) string {
	return strings.TrimPrefix(req.URL.Path, "/client/v4")
}

// rewrite turns a request for the built-in address into one for the configured
// address and gives it the token. A request for anywhere else is refused: the
// token is for the API alone.
func (c *client) rewrite(req *http.Request) (*http.Request, error) {
	rest, ok := strings.CutPrefix(req.URL.String(), libraryURL+"/")
	if !ok {
		return nil, fmt.Errorf("credential %q: refused to send the token to %s", c.credential, req.URL.Host)
	}
	out := req.Clone(req.Context())
	target, err := url.Parse(c.base.String() + "/" + rest)
	if err != nil {
		return nil, fmt.Errorf("credential %q: address of the call: %w", c.credential, err)
	}
	out.URL, out.Host = target, ""
	if req.GetBody != nil {
		if out.Body, err = req.GetBody(); err != nil {
			return nil, fmt.Errorf("credential %q: body of the call: %w", c.credential, err)
		}
	}
	out.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	out.Header.Set("User-Agent", "sallyport")
	return out, nil
}

// check returns nil for an answer that is a success by status and envelope.
func (c *client) check(req *http.Request, resp *http.Response, body []byte) error {
	e := APIError{
		Credential: c.credential, Zone: c.zone, Method: req.Method, Path: c.path(req),
		Kind: KindAPI, Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header, time.Now()),
	}
	var answer envelope
	switch {
	case len(body) > maxAnswerBytes:
		e.Kind = KindNotJSON
	case json.Unmarshal(body, &answer) == nil && answer.Success != nil:
		e.Codes = answer.codes(c.clean)
		if *answer.Success && len(e.Codes) == 0 && resp.StatusCode/100 == 2 {
			return c.checkResult(req, e, answer.Result)
		}
	case strings.Contains(resp.Header.Get("Content-Type"), "html") || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")):
		e.Kind = KindHTML
	default:
		e.Kind = KindNotJSON
	}
	e.explain(c.source)
	return &e
}

// checkResult looks at what libdns does not: that a list is a list (in one
// place libdns takes a failure to decode it for an empty one), and that a zone
// lookup found one zone. It remembers the zone for Wait and preflight.
func (c *client) checkResult(req *http.Request, e APIError, result json.RawMessage) error {
	if req.Method != http.MethodGet {
		return nil
	}
	switch lookup := e.Path == "/zones" && req.URL.Query().Has("name"); {
	case lookup:
		var zones []zoneAnswer
		if json.Unmarshal(result, &zones) != nil {
			break
		}
		if len(zones) != 1 {
			return noZone(e, len(zones))
		}
		c.mu.Lock()
		c.known, c.asked = zones[0], time.Now()
		c.mu.Unlock()
		return nil
	case e.Path == "/zones" || strings.HasSuffix(e.Path, "/dns_records"):
		var list []json.RawMessage
		if json.Unmarshal(result, &list) != nil || list == nil {
			break
		}
		return nil
	default:
		return nil
	}
	e.Kind = KindNotJSON
	e.explain(c.source)
	return &e
}

// clean makes a text of the API fit for errors and logs. Cloudflare does not
// echo tokens, but api_url may name something that does.
func (c *client) clean(text string) string {
	return printable(strings.ReplaceAll(text, c.token.Reveal(), "[secret]"))
}

// get makes a call of our own and decodes its result. It returns the total count
// that the API gives for lists.
func (c *client) get(ctx context.Context, path string, query url.Values, result any) (total int, err error) {
	address := libraryURL + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, fmt.Errorf("credential %q: %w", c.credential, err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	var answer envelope
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, fmt.Errorf("credential %q: %w", c.credential, err) // cannot be: check has decoded it
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		return 0, fmt.Errorf("credential %q: answer to %s: %w", c.credential, path, err)
	}
	return answer.ResultInfo.TotalCount, nil
}

// zoneInfo returns the API's zone, from memory if that is not older than maxAge.
func (c *client) zoneInfo(ctx context.Context, maxAge time.Duration) (zoneAnswer, error) {
	c.mu.Lock()
	known, asked := c.known, c.asked
	c.mu.Unlock()
	if !asked.IsZero() && time.Since(asked) < maxAge {
		return known, nil
	}
	var zones []zoneAnswer
	if _, err := c.get(ctx, "/zones", url.Values{"name": {c.zone}}, &zones); err != nil {
		return zoneAnswer{}, err
	}
	return zones[0], nil // checkResult saw to it that there is one
}

// errorSink takes the errors of the calls that are made with its context.
type errorSink struct {
	mu  sync.Mutex
	err error
}

type sinkKey struct{}

// withSink returns a context whose calls leave their last error in the sink.
//
// It is there for libdns/cloudflare v0.2.2, whose DeleteRecords takes a failed
// lookup of a TXT record for "no such record" and returns success.
func withSink(ctx context.Context) (context.Context, *errorSink) {
	sink := new(errorSink)
	return context.WithValue(ctx, sinkKey{}, sink), sink
}

// sinkOf returns the context's sink, or nil, which is a sink too.
func sinkOf(ctx context.Context) *errorSink {
	sink, _ := ctx.Value(sinkKey{}).(*errorSink)
	return sink
}

func (s *errorSink) put(err error) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *errorSink) get() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

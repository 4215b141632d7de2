package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// mostAnswer bounds what the client reads, in bytes.
const mostAnswer = 64 << 20

// Client asks the process behind a socket. Bound each call with its context.
type Client struct {
	socket    string
	transport *http.Transport
}

// NewClient returns a client for the socket at a path. It connects to nothing.
func NewClient(socket string) *Client {
	return &Client{socket, &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}
}

// Get asks for a path of the API and decodes the answer into value.
func (c *Client) Get(ctx context.Context, path string, value any) error {
	return c.call(ctx, http.MethodGet, path, nil, value)
}

// Post has something done. What could not be done is a [*Failure].
func (c *Client) Post(ctx context.Context, path string, form url.Values, value any) error {
	return c.call(ctx, http.MethodPost, path, form, value)
}

func (c *Client) call(ctx context.Context, method, path string, form url.Values, value any) error {
	res, body, err := c.exchange(ctx, method, path, form)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		failure := &Failure{}
		if json.Unmarshal(body, failure) != nil || failure.Message == "" {
			return fmt.Errorf("admin socket %s: status %d", c.socket, res.StatusCode)
		}
		return failure
	}
	if err := json.Unmarshal(body, value); err != nil {
		return fmt.Errorf("admin socket %s: the answer is not what was asked for: %w", c.socket, err)
	}
	return nil
}

func (c *Client) exchange(ctx context.Context, method, path string, form url.Values) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://sallyport"+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, nil, unreachable(c.socket, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, mostAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("admin socket %s: %w", c.socket, err)
	}
	return res, body, nil
}

// Health asks the process behind the socket how it is. It returns nil if all
// is well, and an error that says what is not or why there was no answer.
// Bound it with ctx.
func Health(ctx context.Context, socket string) error {
	report, err := NewClient(socket).Report(ctx)
	if err != nil {
		return err
	}
	return report.Err()
}

// Report asks the process how it is. Not being well is no error of it.
func (c *Client) Report(ctx context.Context) (Report, error) {
	var report Report
	res, body, err := c.exchange(ctx, http.MethodGet, "/v1/health", nil)
	if err != nil {
		return report, err
	}
	if err := json.Unmarshal(body, &report); err != nil || report.Status == "" {
		return report, fmt.Errorf("admin socket %s: answer with status %d is not a health report", c.socket, res.StatusCode)
	}
	return report, nil
}

func unreachable(socket string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return &Error{Socket: socket, Err: cause(err), Cure: "sallyport is not running, or it was configured with another storage or admin.socket"}
	case errors.Is(err, fs.ErrPermission):
		return &Error{Socket: socket, Err: cause(err), Cure: "only the user that sallyport runs as may ask"}
	}
	return &Error{Socket: socket, Err: err}
}

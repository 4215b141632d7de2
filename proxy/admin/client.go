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
	"strings"
	"syscall"
)

// Health asks the process behind the socket how it is. It returns nil if all
// is well, and an error that says what is not or why there was no answer.
// Bound it with ctx.
func Health(ctx context.Context, socket string) error {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sallyport/v1/health", nil)
	if err != nil {
		return err
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return unreachable(socket, err)
	}
	defer res.Body.Close()
	var report Report
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&report); err != nil {
		return fmt.Errorf("admin socket %s: answer with status %d is not a health report: %w", socket, res.StatusCode, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s", strings.Join(report.Reasons, "; "))
	}
	return nil
}

func unreachable(socket string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return &Error{socket, cause(err), "sallyport is not running, or it was configured with another storage or admin.socket"}
	case errors.Is(err, fs.ErrPermission):
		return &Error{socket, cause(err), "only the user that sallyport runs as may ask"}
	}
	return &Error{socket, err, ""}
}

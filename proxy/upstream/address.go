package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// address is a server address taken apart.
type address struct {
	network string // "tcp" or "unix"
	dial    string // host:port or the socket's path
	host    string // name for TLS, without port
	port    uint16 // 0 of a socket
	tls     bool
	h2c     bool
}

// parseAddress reads `http://host[:port]`, `https://host[:port]`,
// `h2c://host[:port]` or `unix:/path`. Nothing may follow the port: which path
// a request goes to is the route's business.
func parseAddress(text string) (address, error) {
	if socket, ok := strings.CutPrefix(text, "unix:"); ok {
		return parseSocket(socket)
	}
	u, err := url.Parse(text)
	if err != nil {
		return address{}, fmt.Errorf("server %q: not an address", text)
	}
	a := address{network: "tcp", host: u.Hostname()}
	port := "80"
	switch u.Scheme {
	case "http":
	case "https":
		a.tls, port = true, "443"
	case "h2c":
		a.h2c = true
	default:
		return address{}, fmt.Errorf("server %q: want http://, https://, h2c:// or unix:/path", text)
	}
	if err := onlyHostAndPort(u); err != nil {
		return address{}, fmt.Errorf("server %q: %w", text, err)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return address{}, fmt.Errorf("server %q: port must be 1 to 65535", text)
	}
	a.port = uint16(n)
	a.dial = net.JoinHostPort(a.host, port)
	return a, nil
}

func parseSocket(socket string) (address, error) {
	if !path.IsAbs(socket) {
		return address{}, fmt.Errorf("server %q: the socket needs an absolute path, as in unix:/run/app.sock", "unix:"+socket)
	}
	return address{network: "unix", dial: socket, host: "localhost"}, nil
}

func onlyHostAndPort(u *url.URL) error {
	switch {
	case u.Hostname() == "":
		return errors.New("host is missing")
	case u.User != nil:
		return errors.New("a user and password do not belong here")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("a query or fragment does not belong here")
	case u.Path != "" && u.Path != "/":
		return errors.New("a path does not belong here: requests keep the path that the client sent")
	}
	return nil
}

// authority is what a request of our own sends as Host.
func (a address) authority() string {
	if a.network == "unix" {
		return a.host
	}
	return a.dial
}

package config

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// The functions of this file say what is wrong with one address, nil when
// nothing is. Their message continues the quoted address: `"443" is a port
// without its colon`.

// maxSocketPath is what a unix socket's path may measure on Linux, in bytes,
// its final NUL left out.
const maxSocketPath = 107

// serverSchemes are the ways to talk to a server.
var serverSchemes = [...]string{"http", "https", "h2c"}

// serverFault checks the address of a server that requests are sent to.
func serverFault(text string) *fault {
	if strings.ContainsAny(text, " \t") {
		return &fault{"has a blank in it", ""}
	}
	if rest, ok := strings.CutPrefix(text, "unix:"); ok {
		return unixFault(rest)
	}
	scheme, rest, ok := strings.Cut(text, "://")
	switch {
	case !ok && strings.HasPrefix(text, "/"):
		return &fault{"has no scheme", "write unix:" + text + " for a socket"}
	case !ok:
		return noSchemeFault(text)
	case !slices.Contains(serverSchemes[:], scheme):
		return &fault{"has a scheme that is not known", schemeHint(scheme, rest)}
	}
	u, err := url.Parse(text)
	if err != nil {
		return &fault{"is not an address", "write http://HOST:PORT"}
	}
	bare := scheme + "://" + u.Host
	switch {
	case u.User != nil:
		return &fault{"has a user name in it", "write " + bare}
	case u.Path != "":
		return &fault{"has a path", "write " + bare + "; requests keep their own path"}
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#"):
		return &fault{"has more than a host and a port", "write " + bare}
	}
	return hostFault(u.Hostname(), u.Port(), strings.HasSuffix(u.Host, ":"))
}

// noSchemeFault tells how an address without a scheme was probably meant.
func noSchemeFault(text string) *fault {
	host, port := text, ""
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	}
	if host == "" {
		host = "127.0.0.1"
	}
	address := host
	if port != "" {
		address = net.JoinHostPort(host, port)
	}
	if isDigits(text) || hostFault(host, port, false) != nil {
		return &fault{"is not the address of a server", "write http://HOST:PORT"}
	}
	scheme := "http://"
	if port == "443" || port == "8443" {
		scheme = "https://"
	}
	return &fault{"has no scheme", "write " + scheme + address}
}

// schemeHint tells what stands here for a scheme of elsewhere.
func schemeHint(scheme, rest string) string {
	switch lower := strings.ToLower(scheme); lower {
	case "http", "https", "h2c":
		return "write " + lower + "://" + rest
	case "ws":
		return "write http://" + rest + "; WebSockets go through it"
	case "wss":
		return "write https://" + rest + "; WebSockets go through it"
	case "grpc", "h2", "http2":
		return "write h2c://" + rest + " for HTTP/2 without TLS, https://" + rest + " with"
	case "unix":
		return "write unix:/PATH"
	}
	if near, ok := nearest(scheme, serverSchemes[:]); ok {
		return "did you mean " + near + "://" + rest + "?"
	}
	return "a server is http://HOST:PORT, https://HOST, h2c://HOST:PORT or unix:/PATH"
}

// unixFault checks what follows "unix:".
func unixFault(name string) *fault {
	switch {
	case strings.HasPrefix(name, "//"):
		return &fault{"has slashes too many", "write unix:" + path.Clean("/"+strings.TrimLeft(name, "/"))}
	case !strings.HasPrefix(name, "/"):
		return &fault{"has a relative path", "write unix:/PATH"}
	case len(name) > maxSocketPath:
		return &fault{"is too long for a unix socket", "107 bytes is the limit"}
	}
	return nil
}

// hostFault checks a host and an optional port; emptyPort says that the colon
// is there but not the port.
func hostFault(host, port string, emptyPort bool) *fault {
	switch {
	case host == "":
		return &fault{"has no host", "write http://HOST:PORT"}
	case emptyPort:
		return &fault{"has a colon but no port", ""}
	case port != "" && !validPort(port, 1):
		return &fault{"has a port that is not between 1 and 65535", ""}
	case isIP(host):
		return nil
	case strings.Contains(host, ":"), badLabels(strings.ToLower(strings.TrimSuffix(host, "."))) != nil:
		return &fault{"has a host that is neither a name nor an IP address", ""}
	}
	return nil
}

// validPort reports whether a text is a port, and at least the given one.
func validPort(text string, least uint64) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port >= least
}

// listenFault checks an address to listen on. port is the one that is usual
// for it, for hints.
func listenFault(text, port string) *fault {
	if isDigits(text) {
		return &fault{"is a port without its colon", "write \":" + text + "\""}
	}
	if _, _, ok := strings.Cut(text, "://"); ok {
		return &fault{"has a scheme", "write \":" + port + "\""}
	}
	if ip, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return &fault{"has no port", "write \"" + net.JoinHostPort(ip.String(), port) + "\""}
	}
	host, number, err := net.SplitHostPort(text)
	switch {
	case err != nil && strings.Count(text, ":") > 1:
		return &fault{"is not host:port", "an IPv6 address stands in brackets: \"[2001:db8::1]:" + port + "\""}
	case err != nil:
		return &fault{"is not host:port", "write \":" + port + "\" or \"192.0.2.1:" + port + "\""}
	case !validPort(number, 0):
		return &fault{"has a port that is not between 0 and 65535", ""}
	case host == "*":
		return &fault{"has a * for its host", "write \":" + number + "\""}
	case host == "localhost":
		return &fault{"has a name for its host", "write \"127.0.0.1:" + number + "\" or \"[::1]:" + number + "\""}
	case host != "" && !isIP(host):
		return &fault{"has a name for its host", "write an IP address of this machine, or \":" + number + "\" for all of them"}
	}
	return nil
}

// nameServer returns host:port of a DNS server, with port 53 where none is
// given.
func nameServer(text string, nameAllowed bool) (string, *fault) {
	if _, _, ok := strings.Cut(text, "://"); ok {
		return "", &fault{"has a scheme", "write HOST:PORT; plain DNS is spoken"}
	}
	host, port := text, "53"
	if ip, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		host = ip.String()
	} else if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	}
	switch {
	case !validPort(port, 1):
		return "", &fault{"has a port that is not between 1 and 65535", ""}
	case isIP(host):
	case !nameAllowed:
		return "", &fault{"is not an IP address", "write the IP address of the DNS server: a name would need another one"}
	case hostFault(host, port, false) != nil:
		return "", &fault{"is neither a name nor an IP address", ""}
	}
	return net.JoinHostPort(host, port), nil
}

// httpsFault checks the https:// address of a service.
func httpsFault(text string) *fault {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return &fault{"is not an address", "write https://HOST/PATH"}
	case u.Scheme == "http":
		return &fault{"is not encrypted", "write https://" + strings.TrimPrefix(text, "http://")}
	case u.Scheme != "https" || u.Host == "":
		return &fault{"is not an https:// address", "write https://HOST/PATH"}
	case u.User != nil:
		return &fault{"has a user name in it", "remove it"}
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return &fault{"has a ? or # in it", "write https://HOST/PATH"}
	}
	return hostFault(u.Hostname(), u.Port(), strings.HasSuffix(u.Host, ":"))
}

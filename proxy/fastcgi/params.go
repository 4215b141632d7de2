package fastcgi

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Script is what a request is answered by.
type Script struct {
	// Root is the document root as the FastCGI server sees it.
	Root string

	// Name is the script's path below the root, with slashes, and PathInfo
	// what follows it in the request's path: "" or something that begins with a
	// slash.
	Name, PathInfo string

	// Request is the request as it came to the action.
	Request *http.Request
}

type scriptKey struct{}

// WithScript returns a copy of r that [Transport.RoundTrip] has answered by s.
func WithScript(r *http.Request, s *Script) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), scriptKey{}, s))
}

// ScriptName returns the script that [WithScript] named, as a path below the
// root; empty if it named none.
func ScriptName(r *http.Request) string {
	if s, ok := r.Context().Value(scriptKey{}).(*Script); ok {
		return s.Name
	}
	return ""
}

// appendParams appends the variables of RFC 3875 section 4.1, and those that
// PHP applications know from other servers. out is the request as it is sent
// on: its fields have passed the proxy. The later of two with the same name
// counts, so the operator's own come last.
func appendParams(b []byte, out *http.Request, s *Script, env [][2]string) []byte {
	in, x := s.Request, exchange.Of(out)
	host, port := splitHost(in.Host, x.Secure)
	set := func(name, value string) { b = appendPair(b, name, value) }
	for name, values := range out.Header {
		if variable := fieldVariable(name); variable != "" && len(values) > 0 {
			separator := ", "
			if name == "Cookie" {
				separator = "; "
			}
			set(variable, strings.Join(values, separator))
		}
	}
	set("GATEWAY_INTERFACE", "CGI/1.1")
	set("SERVER_SOFTWARE", "sallyport")
	set("SERVER_PROTOCOL", in.Proto)
	set("SERVER_NAME", host)
	set("SERVER_PORT", port)
	if local, ok := in.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if at, err := netip.ParseAddrPort(local.String()); err == nil {
			set("SERVER_ADDR", at.Addr().Unmap().String())
		}
	}
	set("REQUEST_METHOD", out.Method)
	set("REQUEST_SCHEME", x.Scheme())
	if x.Secure {
		set("HTTPS", "on")
	}
	set("REMOTE_ADDR", x.Client.String())
	if x.Client == x.Peer.Addr().Unmap().WithZone("") {
		set("REMOTE_PORT", strconv.Itoa(int(x.Peer.Port())))
	}
	if x.User != "" {
		set("REMOTE_USER", x.User)
	}
	set("HTTP_HOST", out.Host)
	set("REQUEST_URI", originForm(in))
	set("QUERY_STRING", in.URL.RawQuery)
	set("CONTENT_TYPE", out.Header.Get("Content-Type"))
	length := ""
	if out.ContentLength > 0 {
		length = strconv.FormatInt(out.ContentLength, 10)
	}
	set("CONTENT_LENGTH", length)
	set("DOCUMENT_ROOT", s.Root)
	set("SCRIPT_FILENAME", path.Join(s.Root, s.Name))
	set("SCRIPT_NAME", "/"+s.Name)
	set("DOCUMENT_URI", "/"+s.Name+s.PathInfo)
	set("PATH_INFO", s.PathInfo)
	if s.PathInfo != "" {
		set("PATH_TRANSLATED", path.Join(s.Root, s.PathInfo))
	}
	set("REDIRECT_STATUS", "200") // without it PHP may refuse to run (cgi.force_redirect)
	for _, pair := range env {
		set(pair[0], pair[1])
	}
	return b
}

// fieldVariable returns the variable that a field goes into, or "". Proxy does
// not pass: HTTP_PROXY would be taken for the address of a proxy ("httpoxy",
// CVE-2016-5385). Names in which a character would have to be replaced by "_"
// do not pass either, for two of them could become the same.
func fieldVariable(name string) string {
	switch name {
	case "Proxy", "Content-Type", "Content-Length", "Host", "Transfer-Encoding", "Connection", "Upgrade":
		return ""
	}
	variable := make([]byte, 0, len("HTTP_")+len(name))
	variable = append(variable, "HTTP_"...)
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '-':
			c = '_'
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		default:
			return ""
		}
		variable = append(variable, c)
	}
	return string(variable)
}

// originForm returns path and query as they are asked for, also where the
// client named the host before them.
func originForm(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI()
}

// splitHost returns the name and the port that the client speaks to.
func splitHost(hostport string, secure bool) (host, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port = hostport, ""
	}
	if port == "" {
		port = "80"
		if secure {
			port = "443"
		}
	}
	return host, port
}

package listen

import (
	"net"
	"net/http"
	"strconv"
)

// announcer tells clients of HTTP/1.1 and HTTP/2 by Alt-Svc (RFC 7838) that
// HTTP/3 is there as well, for a day: the default, and as long as a firewall
// that drops UDP may cost those who believed it an attempt.
//
// The port is the one in the request's Host, which is the port that the client
// sees, whatever is translated on the way here.
type announcer struct{ next http.Handler }

const announceDefault = `h3=":443"; ma=86400`

func announcement(port string) string { return `h3=":` + port + `"; ma=86400` }

func (a announcer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, port, err := net.SplitHostPort(r.Host); err != nil {
		w.Header()["Alt-Svc"] = []string{announceDefault}
	} else if number, err := strconv.ParseUint(port, 10, 16); err == nil && number > 0 {
		w.Header()["Alt-Svc"] = []string{announcement(strconv.FormatUint(number, 10))}
	}
	a.next.ServeHTTP(w, r)
}

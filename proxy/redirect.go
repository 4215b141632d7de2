package proxy

import (
	"net/http"

	"github.com/sallyport/sallyport/proxy/routing"
)

// RedirectHandler answers requests that came over plain HTTP: it sends clients
// to the same address over HTTPS, unless their route says otherwise, or a trusted
// proxy says that the client speaks TLS with it: then they are served. Only hosts
// that have a site are redirected, so that nobody can use the proxy to lend a
// link its name; others get 404.
//
// GET and HEAD get 301, which every client ever made understands; other
// methods get 308, which keeps method and body (RFC 9110 section 15.4.9). The
// connection is kept.
func (p *Proxy) RedirectHandler() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, original *http.Request) {
		w, r := p.open(rw, original)
		if p.observed() {
			p.began(w, r)
			defer p.done(w, r)
		}
		defer p.rescue(w, r)
		s, err := p.enter(w, r)
		if err != nil {
			p.fail(w, r, err)
			return
		}
		// Behind a proxy that speaks TLS to the client and plain HTTP to us, a
		// redirect would lead back to where the client is.
		secure := w.Exchange.Secure
		if s.plain || secure {
			found, err := s.find(&w.Exchange, r)
			switch {
			case err != nil:
				p.fail(w, r, err)
				return
			case secure, found.overPlain == plainServe:
				p.serve(w, r, found)
				return
			case found.overPlain == plainRefuse:
				p.fail(w, r, errPlainHTTP)
				return
			}
		}
		redirectToTLS(w, r, p.current.Load().port)
	})
}

// redirectToTLS sends a client to the same address over HTTPS.
func redirectToTLS(w http.ResponseWriter, r *http.Request, port string) {
	var buf routing.HostBuffer
	host, _ := routing.Host(&buf, r.Host) // enter saw that it is one
	location := string(host)
	if r.Host[0] == '[' {
		location = "[" + location + "]"
	}
	to := r.RequestURI
	if to == "*" {
		to = "/"
	}
	h := w.Header()
	h.Set("Location", "https://"+location+port+to)
	h.Set("Content-Length", "0")
	leaveBody(w, r)
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		w.WriteHeader(http.StatusMovedPermanently)
		return
	}
	w.WriteHeader(http.StatusPermanentRedirect)
}

package proxy

import (
	"bufio"
	"net"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/proxy/accesslog"
	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/tracing"
)

// recorder is the writer that everything below the proxy writes to. It keeps
// the exchange; it runs the hooks before the head of the final response goes out,
// once; and it knows whether a response has begun, so that a failure knows
// whether it can still be answered. All this is one allocation.
type recorder struct {
	http.ResponseWriter
	Exchange exchange.Exchange

	proxy   *Proxy
	request *http.Request
	id      [1]string // the value of X-Request-Id
	begun   bool
	log     *accesslog.Log // who writes the line of this request, nil for nobody
	span    *tracing.Span  // nil if the request is not traced
}

// open makes the recorder of a request, and the request that carries it.
func (p *Proxy) open(rw http.ResponseWriter, r *http.Request) (*recorder, *http.Request) {
	if server, ok := r.Context().(carrying); ok {
		w := new(recorder)
		w.fillIn(p, rw, r)
		w.request = r
		server.Carry(&w.Exchange)
		return w, r
	}
	both := new(struct {
		recorder
		exchange.Carrier
		request http.Request
	})
	both.fillIn(p, rw, r)
	both.Carrier = exchange.Carrier{Context: r.Context(), Exchange: &both.recorder.Exchange}
	both.request = *r.WithContext(&both.Carrier)
	both.recorder.request = &both.request
	return &both.recorder, &both.request
}

// carrying is the context of a server by which handlers can find things of their
// own. Other servers' requests have to be copied to get such a context.
type carrying interface {
	Carry(interface{ Value(key any) any })
}

func (w *recorder) fillIn(p *Proxy, rw http.ResponseWriter, r *http.Request) {
	w.ResponseWriter, w.proxy = rw, p
	x := &w.Exchange
	x.Fill(r)
	if x.Started.IsZero() {
		x.Started = time.Now()
	}
	x.Refuser, x.Original = w, r
}

// Refuse implements [exchange.Refuser].
func (w *recorder) Refuse(rw http.ResponseWriter, r *http.Request, err error) {
	w.proxy.fail(rw, r, err)
}

// Unwrap is for [http.ResponseController].
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Adopt lets the server take a map as the header of the answer, if it can.
func (w *recorder) Adopt(h http.Header) bool {
	server, ok := w.ResponseWriter.(adopter)
	return ok && server.Adopt(h)
}

// begin runs the hooks when the final head goes out.
func (w *recorder) begin(status int) {
	w.begun = true
	w.Exchange.Status = status
	w.Exchange.Head(w.request, status, w.ResponseWriter.Header())
}

func (w *recorder) WriteHeader(status int) {
	if !w.begun && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if !w.begun {
		w.begin(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.Exchange.Sent += int64(n)
	return n, err
}

// FlushError is for [http.ResponseController].
func (w *recorder) FlushError() error {
	if !w.begun {
		w.begin(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack is for [http.ResponseController]. Whoever takes the connection runs
// the hooks itself.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.begun = true
	}
	return conn, rw, err
}

// finish sends the head of a response that nobody wrote anything of.
func (w *recorder) finish() {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
}

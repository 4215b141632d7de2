package proxy

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/proxy/failure"
	"github.com/sallyport/sallyport/proxy/upstream"
)

// WebSockets over HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220) are a CONNECT with a
// :protocol; servers behind know them as a GET with Upgrade. This file turns
// the one into the other.

var errNotUpgraded = fmt.Errorf("%w: it answered a WebSocket handshake with success, but without switching", upstream.ErrMalformed)

// admitSocket makes a request for a WebSocket over HTTP/2 or HTTP/3 look the
// way it does in HTTP/1.1, so that everything that comes after, middleware and
// server, needs to know only that one. The request's Body is then the client's
// half of the stream and not a body: its length is 0.
//
// The engine leaves :protocol among the fields, where no client can put it by
// other means. Upgrade is what a client must not send in these versions (RFC
// 9113 section 8.2.2), so afterwards it is there only if it was set here.
func admitSocket(r *http.Request) {
	const pseudo = ":protocol"
	if r.ProtoMajor < 2 {
		return
	}
	protocol := r.Header[pseudo]
	delete(r.Header, pseudo)
	delete(r.Header, "Upgrade")
	if r.Method != http.MethodConnect || len(protocol) != 1 || !strings.EqualFold(protocol[0], "websocket") {
		return
	}
	r.Method, r.ContentLength = http.MethodGet, 0
	r.Header["Connection"] = []string{"Upgrade"}
	r.Header["Upgrade"] = []string{"websocket"}
	r.Header["Sec-Websocket-Key"] = []string{newSocketKey()}
}

// newSocketKey returns a nonce as RFC 6455 section 4.1 wants it.
func newSocketKey() string {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// socketAccept returns the answer that a key must get (RFC 6455 section 4.2.2).
func socketAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// checkSocket makes sure of a response to a handshake that we made up for the
// client, which therefore cannot check it. A success without a switch must not
// reach the client: to it any success means that the WebSocket is open.
func checkSocket(res *http.Response, key string) error {
	var err error
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols && res.Header.Get("Sec-Websocket-Accept") != socketAccept(key):
		err = failure.ErrBadUpgrade
	case res.StatusCode >= 200 && res.StatusCode < 300:
		err = errNotUpgraded
	}
	if err != nil {
		_ = res.Body.Close()
	}
	return err
}

// bridge answers with success and then copies bytes both ways between the
// client's stream and the upgraded connection to the server.
func (f *forward) bridge(w http.ResponseWriter, r *http.Request, res *http.Response, server io.ReadWriteCloser) {
	client := &stream{w: w, body: r.Body}
	defer client.end()
	t := newTunnel(client, server, f.silence, res)
	if !f.tunnels.add(t) {
		panic(http.ErrAbortHandler) // returning would be a success
	}
	defer f.tunnels.remove(t)
	copyResponseHeader(w.Header(), res.Header)
	for _, name := range []string{"Sec-Websocket-Accept", "Content-Length"} {
		w.Header().Del(name) // of the handshake in HTTP/1.1
	}
	w.WriteHeader(http.StatusOK)
	if http.NewResponseController(w).Flush() != nil {
		return // the client is gone
	}
	t.copy(f.proxy, nil)
}

// stream is the client's side of a bridge. It cannot be half closed towards
// the client, since that takes returning from the handler.
type stream struct {
	w    http.ResponseWriter
	body io.ReadCloser

	mu      sync.Mutex
	writing bool
	closed  bool // by either side of the tunnel, or because the handler is returning
}

func (s *stream) Read(p []byte) (int, error) { return s.body.Read(p) }

// Write sends p at once.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, net.ErrClosed
	}
	s.writing = true
	s.mu.Unlock()
	n, err := s.w.Write(p)
	if err == nil {
		err = http.NewResponseController(s.w).Flush()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	return n, err
}

// Close wakes up a Read and a Write that wait for the client. What was written
// before still arrives.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.writing {
		_ = http.NewResponseController(s.w).SetWriteDeadline(time.Unix(1, 0))
	}
	return s.body.Close()
}

// end keeps a late Close away from the engine's objects.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

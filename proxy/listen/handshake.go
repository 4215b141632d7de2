package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"
)

// handshaker turns a listener for TCP connections into one for TLS connections
// whose handshake is done. net/http would shake hands itself, but bounds that
// by the time for a request head and tells of failures only in prose.
type handshaker struct {
	*acceptor
	config  *tls.Config
	timeout func() time.Duration // for a whole handshake, now
	ready   chan *tls.Conn
	over    chan struct{} // closed when no handshake is under way and none will be
	workers sync.WaitGroup
}

func newHandshaker(a *acceptor, config *tls.Config, timeout func() time.Duration) *handshaker {
	return &handshaker{acceptor: a, config: config, timeout: timeout, ready: make(chan *tls.Conn), over: make(chan struct{})}
}

// run accepts and shakes hands until the socket is closed, and returns when
// every handshake has ended.
func (h *handshaker) run() {
	defer close(h.over)
	defer h.workers.Wait()
	for {
		plain, err := h.acceptor.Accept()
		if err != nil {
			return
		}
		h.workers.Go(func() { h.shake(plain) })
	}
}

// Accept returns the next connection that speaks TLS.
func (h *handshaker) Accept() (net.Conn, error) {
	select {
	case c := <-h.ready:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	case <-h.over:
		return nil, net.ErrClosed
	}
}

func (h *handshaker) shake(plain net.Conn) {
	select {
	case <-h.done: // accepted just before, and too late to be cut with the others
		_ = plain.Close()
		return
	default:
	}
	if limit := h.timeout(); limit > 0 {
		_ = plain.SetDeadline(time.Now().Add(limit))
	}
	secure := tls.Server(plain, h.config)
	// No context: a context that can end costs a goroutine per handshake. The
	// deadline bounds it, and a stop cuts the connection.
	if err := secure.HandshakeContext(context.Background()); err != nil {
		h.conns.counters.tcp.failed.Add(1)
		h.refuse(plain, err)
		return
	}
	h.conns.counters.tcp.shook(secure.ConnectionState())
	_ = plain.SetDeadline(time.Time{})
	select {
	case h.ready <- secure:
	case <-h.done:
		_ = plain.Close()
	}
}

// refuse ends a connection whose handshake failed. A client that spoke plain
// HTTP is told so in its own language.
func (h *handshaker) refuse(plain net.Conn, err error) {
	defer plain.Close()
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok && looksLikeHTTP(record.RecordHeader) {
		_, _ = io.WriteString(plain, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n"+
			"This port speaks HTTPS: use https:// in the address.\n")
	}
	h.logger.Debug("TLS handshake failed", zap.String("client", plain.RemoteAddr().String()), zap.Error(err))
}

// looksLikeHTTP reports whether the first bytes of what should have been TLS
// are the beginning of an HTTP/1 request.
func looksLikeHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		return true
	}
	return false
}

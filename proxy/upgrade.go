package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// halfClosedLimit is how long one direction of an upgraded connection may be
// silent after the other has ended. A client that vanished looks the same as
// one that has said all it wanted.
const halfClosedLimit = 5 * time.Minute

// upgradeAsked returns the protocol that a client wants to switch to (RFC 9110
// section 7.8), or "" if there is none that we pass on. A server may ignore an
// Upgrade field, and we do unless it is exactly one protocol: websocket, or one
// that the route allows. Others, h2c first of all, would open a way past the
// proxy's checks.
func upgradeAsked(r *http.Request, allowed []string) string {
	asked := r.Header["Upgrade"]
	if r.ProtoMajor > 1 && len(asked) == 1 {
		return asked[0] // set by admitSocket
	}
	if len(asked) != 1 || r.ProtoMajor != 1 || !r.ProtoAtLeast(1, 1) || !names(r.Header["Connection"], "upgrade") {
		return ""
	}
	if strings.EqualFold(asked[0], "websocket") || slices.ContainsFunc(allowed, func(one string) bool { return strings.EqualFold(one, asked[0]) }) {
		return asked[0]
	}
	return ""
}

// checkUpgrade makes sure that a 101 switches to what was asked for.
func checkUpgrade(res *http.Response, protocol string) error {
	if protocol == "" || !names(res.Header["Connection"], "upgrade") || !strings.EqualFold(res.Header.Get("Upgrade"), protocol) {
		return errBadUpgrade
	}
	return nil
}

// upgrade passes a 101 on and then copies bytes both ways until both sides are
// done, one breaks, or the pool or the listener closes the connection.
func (f *forward) upgrade(w http.ResponseWriter, r *http.Request, res *http.Response) {
	server, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		f.proxy.fail(w, r, errBadUpgrade)
		return
	}
	defer server.Close()
	if r.ProtoMajor > 1 {
		f.bridge(w, r, res, server)
		return
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		f.proxy.fail(w, r, fmt.Errorf("upgrading the connection: %w", err))
		return
	}
	defer client.Close()
	t := newTunnel(client, server, f.silence, res)
	if !f.tunnels.add(t) {
		return
	}
	defer f.tunnels.remove(t)
	if err := writeSwitch(buffered.Writer, r, w.Header(), res); err != nil {
		return // the client is gone
	}
	t.copy(f.proxy, early(buffered.Reader))
}

// writeSwitch writes the head of a 101 response.
func writeSwitch(w *bufio.Writer, r *http.Request, h http.Header, res *http.Response) error {
	copyResponseHeader(h, res.Header)
	x := exchange.Of(r)
	x.Status = http.StatusSwitchingProtocols
	x.Head(r, x.Status, h)
	h["Connection"] = []string{"Upgrade"}
	h["Upgrade"] = res.Header["Upgrade"][:1]
	for _, framing := range []string{"Content-Length", "Content-Type"} {
		delete(h, framing) // a 101 has no content
	}
	if _, err := w.WriteString("HTTP/1.1 101 Switching Protocols\r\n"); err != nil {
		return err
	}
	if err := h.Write(w); err != nil {
		return err
	}
	if _, err := w.WriteString("\r\n"); err != nil {
		return err
	}
	return w.Flush()
}

// early returns what the client sent right behind its request.
func early(r *bufio.Reader) []byte {
	ahead, _ := r.Peek(r.Buffered())
	return ahead
}

// tunnel is an upgraded connection.
type tunnel struct {
	client io.ReadWriteCloser
	server io.ReadWriteCloser
	up     direction // to the server
	down   direction // to the client
	framed bool      // it is a WebSocket

	limit time.Duration // of silence in both directions; 0 is none
	moved atomic.Int64  // when something moved last, in nanoseconds since epoch
	epoch time.Time

	mu      sync.Mutex
	silence *time.Timer // looks after the limit
	begun   bool
	leaving bool
	ended   bool
	leave   *time.Timer    // runs while leaving
	words   sync.WaitGroup // of those that say so
}

// newTunnel makes a tunnel of what a 101 switched.
func newTunnel(client, server io.ReadWriteCloser, silence time.Duration, res *http.Response) *tunnel {
	t := &tunnel{client: client, server: server, limit: silence}
	t.up.to, t.up.masked = server, true
	t.down.to = client
	t.framed = strings.EqualFold(res.Header.Get("Upgrade"), "websocket")
	t.up.frames.lost, t.down.frames.lost = !t.framed, !t.framed
	return t
}

// copy runs both directions and returns when both have ended. ahead is what
// was read from the client already.
func (t *tunnel) copy(p *Proxy, ahead []byte) {
	t.mu.Lock()
	t.begun = true
	t.mu.Unlock()
	t.epoch = time.Now()
	t.watch(t.limit)
	var up sync.WaitGroup
	up.Go(func() {
		if len(ahead) > 0 {
			if err := t.up.write(ahead); err != nil {
				t.close()
				return
			}
		}
		t.pipe(p, &t.up, t.client)
	})
	t.pipe(p, &t.down, t.server)
	up.Wait()
	t.mu.Lock()
	t.ended = true
	if t.silence != nil {
		t.silence.Stop()
	}
	t.mu.Unlock()
	t.words.Wait()
	if t.leave != nil { // not set any more once it has ended
		t.leave.Stop()
	}
}

// pipe copies one direction. When the sender is done the receiver is told so
// and the other direction goes on; when anything breaks, or the receiver cannot
// be told, both end.
func (t *tunnel) pipe(p *Proxy, to *direction, from io.Reader) {
	buffer := p.buffers.Get().(*[copySize]byte)
	defer p.buffers.Put(buffer)
	for {
		n, readErr := from.Read(buffer[:])
		if n > 0 {
			if err := to.write(buffer[:n]); err != nil {
				t.close()
				return
			}
			t.moved.Store(int64(time.Since(t.epoch)))
		}
		if readErr == nil {
			continue
		}
		if !to.finish(readErr) {
			t.close()
			return
		}
		t.halfClosed()
		return
	}
}

// halfClosed tightens the limit.
func (t *tunnel) halfClosed() {
	t.moved.Store(int64(time.Since(t.epoch)))
	t.mu.Lock()
	loose := t.limit == 0 || t.limit > halfClosedLimit
	t.mu.Unlock()
	if loose {
		t.watch(halfClosedLimit)
	}
}

// watch starts to wait for a silence of limit, in place of what was waited for
// before. One timer looks now and then how long it has been silent: setting it
// anew with each piece would cost more than the piece.
func (t *tunnel) watch(limit time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if limit <= 0 || t.ended {
		return
	}
	if t.silence != nil {
		t.silence.Stop()
	}
	t.limit = limit
	t.silence = time.AfterFunc(limit, t.look)
}

// look ends a tunnel that has been silent for too long.
func (t *tunnel) look() {
	t.mu.Lock()
	left := t.limit - (time.Since(t.epoch) - time.Duration(t.moved.Load()))
	over := left <= 0 && !t.ended
	if left > 0 && !t.ended {
		t.silence.Reset(left)
	}
	t.mu.Unlock()
	if over {
		t.part()
	}
}

// close ends both sides; whoever copies between them notices.
func (t *tunnel) close() {
	_ = t.client.Close()
	_ = t.server.Close()
}

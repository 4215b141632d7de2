package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/failure"
	"github.com/sallyport/sallyport/proxy/tunnel"
)

// upgradeAsked returns the protocol that a client wants to switch to (RFC 9110
// section 7.8), or "" if there is none that we pass on. A server may ignore an
// Upgrade field, and we do unless it is exactly one protocol: websocket, or one
// that the route allows. Others, h2c first of all, would open a way past the
// proxy's checks.
func upgradeAsked(r *http.Request, allowed []string) string {
	asked := r.Header["Upgrade"]
	if r.ProtoMajor > 1 && len(asked) == 1 {
		return asked[0] // set by tunnel.FromConnect
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
		return failure.ErrBadUpgrade
	}
	return nil
}

// upgrade passes a 101 on and then copies bytes both ways until both sides are
// done, one breaks, or the pool or the listener closes the connection.
func (f *forward) upgrade(w http.ResponseWriter, r *http.Request, res *http.Response) {
	server, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		f.proxy.fail(w, r, failure.ErrBadUpgrade)
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
	t, ok := f.tunnels.Open(client, server, f.carriage(res))
	if !ok {
		return
	}
	defer t.Release()
	if err := writeSwitch(buffered.Writer, r, w.Header(), res); err != nil {
		return // the client is gone
	}
	t.Copy(early(buffered.Reader))
}

// carriage is how what a 101 switched is carried.
func (f *forward) carriage(res *http.Response) tunnel.Options {
	return tunnel.Options{Silence: f.silence, WebSocket: strings.EqualFold(res.Header.Get("Upgrade"), "websocket")}
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

// bridge answers with success and then copies bytes both ways between the
// client's stream and the upgraded connection to the server.
func (f *forward) bridge(w http.ResponseWriter, r *http.Request, res *http.Response, server io.ReadWriteCloser) {
	client := tunnel.NewStream(w, r)
	defer client.End()
	t, ok := f.tunnels.Open(client, server, f.carriage(res))
	if !ok {
		panic(http.ErrAbortHandler) // returning would be a success
	}
	defer t.Release()
	copyResponseHeader(w.Header(), res.Header)
	for _, name := range []string{"Sec-Websocket-Accept", "Content-Length"} {
		w.Header().Del(name) // of the handshake in HTTP/1.1
	}
	w.WriteHeader(http.StatusOK)
	if http.NewResponseController(w).Flush() != nil {
		return // the client is gone
	}
	t.Copy(nil)
}

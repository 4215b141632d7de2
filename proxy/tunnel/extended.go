package tunnel

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/proxy/failure"
)

// WebSockets over HTTP/2 (RFC 8441) and HTTP/3 (RFC 9220) are a CONNECT with a
// :protocol; servers behind know them as a GET with Upgrade. This file turns
// the one into the other.

// FromConnect makes a request for a WebSocket over HTTP/2 or HTTP/3 look the
// way it does in HTTP/1.1, so that everything that comes after, middleware and
// server, needs to know only that one. The request's Body is then the client's
// half of the stream and not a body: its length is 0.
//
// The engine leaves :protocol among the fields, where no client can put it by
// other means. Upgrade is what a client must not send in these versions (RFC
// 9113 section 8.2.2), so afterwards it is there only if it was set here.
func FromConnect(r *http.Request) {
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
	r.Header["Sec-Websocket-Key"] = []string{newKey()}
}

// newKey returns a nonce as RFC 6455 section 4.1 wants it.
func newKey() string {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// acceptOf returns the answer that a key must get (RFC 6455 section 4.2.2).
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// CheckAccept makes sure of a response to a handshake that we made up for the
// client, which therefore cannot check it. A success without a switch must not
// reach the client: to it any success means that the WebSocket is open.
func CheckAccept(res *http.Response, key string) error {
	var err error
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols && res.Header.Get("Sec-Websocket-Accept") != acceptOf(key):
		err = failure.ErrBadUpgrade
	case res.StatusCode >= 200 && res.StatusCode < 300:
		err = failure.ErrNotUpgraded
	}
	if err != nil {
		_ = res.Body.Close()
	}
	return err
}

package listen

import (
	"crypto/tls"
	"io"
	"testing"

	"golang.org/x/net/http2"
)

// A browser asks for a WebSocket over HTTP/2 only if the server's SETTINGS say
// that it may; the framer sees what they say, whatever client library there is.
func TestHTTP2AnnouncesExtendedConnect(t *testing.T) {
	r := run(t, Options{HTTP2Streams: 7}, ok)
	c := r.secure(t, &tls.Config{NextProtos: []string{"h2"}})
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(c, c)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	frame, err := framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, is := frame.(*http2.SettingsFrame)
	if !is {
		t.Fatalf("the first frame is %v", frame)
	}
	if v, _ := settings.Value(http2.SettingEnableConnectProtocol); v != 1 {
		t.Error("extended CONNECT is not announced")
	}
	if v, _ := settings.Value(http2.SettingMaxConcurrentStreams); v != 7 {
		t.Errorf("%d streams are allowed, want 7", v)
	}
}

package listen

import (
	"crypto/tls"
	"testing"

	"github.com/quic-go/quic-go"
)

func TestHandshakesOverTCPAndQUICAreCountedApart(t *testing.T) {
	r := run(t, Options{HTTP3: true}, ok)
	over := func(protocol string, trusting bool) *tls.Config {
		return &tls.Config{InsecureSkipVerify: trusting, ServerName: "a.test", NextProtos: []string{protocol}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	}
	config := over("h3", true)
	for range 2 { // the second time with a ticket, and ready for 0-RTT
		c, err := quic.DialAddrEarly(t.Context(), r.https, config, nil)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := c.AcceptUniStream(t.Context()) // the server's first words come after its tickets
		if err != nil {
			t.Fatal(err)
		}
		_, _ = stream.Read(make([]byte, 1))
		if r.Counts().QUIC.Open != 1 || r.Counts().TCP.Open != 0 {
			t.Errorf("with a connection open: %+v", r.Counts())
		}
		_ = c.CloseWithError(0, "")
		eventually(t, "the connection leaves", func() bool { return r.Counts().QUIC.Open == 0 })
	}
	for name, config := range map[string]*tls.Config{"no common protocol": over("other", true), "a client that does not trust us": over("h3", false)} {
		if _, err := quic.DialAddr(t.Context(), r.https, config, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	eventually(t, "both failures are counted", func() bool { return r.Counts().QUIC.Failed == 2 })
	if n := r.logs.FilterMessage("QUIC handshake failed").Len(); n != 2 {
		t.Errorf("%d failures are logged", n)
	}
	if got, want := r.Counts().QUIC, (Transport{Accepted: 2, TLS13: 1, TLS13Resumed: 1, Failed: 2}); got != want {
		t.Errorf("QUIC: %+v, want %+v", got, want)
	}
	if got := r.Counts().TCP; got != (Transport{}) {
		t.Errorf("TCP: %+v", got)
	}

	_ = r.secure(t, &tls.Config{MaxVersion: tls.VersionTLS12}).Close()
	_ = r.secure(t, &tls.Config{}).Close()
	if _, err := tls.Dial("tcp", r.https, &tls.Config{ServerName: "a.test"}); err == nil {
		t.Error("a client that does not trust us: no error")
	}
	want := Transport{Accepted: 3, TLS12: 1, TLS13: 1, Failed: 1}
	eventually(t, "those over TCP", func() bool { return r.Counts().TCP == want })
	counts := r.Counts()
	if all, resumed := counts.QUIC.Handshakes(); all != 2 || resumed != 1 {
		t.Errorf("%d handshakes, %d resumed", all, resumed)
	}
}

package listen

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// drip writes a byte in each interval until writing fails or the reader has
// seen the end, and returns how long it could.
func drip(c io.Writer, text string, over <-chan struct{}) time.Duration {
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range text {
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			break
		}
		select {
		case <-tick.C:
		case <-over:
			return time.Since(began)
		}
	}
	return time.Since(began)
}

// endless is a head that does not end while a test lasts.
func endless() string {
	long := make([]byte, 2000)
	for i := range long {
		long[i] = 'x'
	}
	return "GET / HTTP/1.1\r\nHost: a.test\r\nX-Long: " + string(long)
}

func TestAHeadThatDribblesIsGivenUp(t *testing.T) {
	const limit = 300 * time.Millisecond
	r := run(t, Options{HTTP3: true, RequestHeaderTimeout: limit, IdleTimeout: time.Minute}, ok)
	check := func(t *testing.T, took time.Duration) {
		if took < limit/2 || took > limit+10*time.Second {
			t.Errorf("given up after %v", took)
		}
	}
	t.Run("h1", func(t *testing.T) {
		c := r.secure(t, &tls.Config{})
		over := make(chan struct{})
		go func() {
			defer close(over)
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err == nil && res.StatusCode != http.StatusRequestTimeout {
				t.Errorf("answered with %d", res.StatusCode)
			}
		}()
		check(t, drip(c, endless(), over))
	})
	t.Run("h2", func(t *testing.T) {
		c := r.secure(t, &tls.Config{NextProtos: []string{"h2"}})
		over := make(chan struct{})
		write(t, c, http2.ClientPreface)
		framer := http2.NewFramer(c, c)
		_ = framer.WriteSettings()
		block := new(bytes.Buffer)
		encoder := hpack.NewEncoder(block)
		for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a.test"}, {":path", "/"}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true})
		go func() { // until the stream or the connection is given up
			defer close(over)
			for {
				frame, err := framer.ReadFrame()
				if err != nil {
					return
				}
				switch frame.(type) {
				case *http2.RSTStreamFrame, *http2.GoAwayFrame:
					return
				}
			}
		}()
		// CONTINUATION, announced to be long, comes byte by byte.
		check(t, drip(c, "\x00\x10\x00\x09\x00\x00\x00\x00\x01"+endless(), over))
	})
	t.Run("h3", func(t *testing.T) {
		c := r.quic(t)
		stream, err := c.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan struct{})
		var reset error
		go func() {
			defer close(over)
			_, reset = io.ReadAll(stream)
		}()
		check(t, drip(stream, "\x01\x50\x00"+endless(), over))
		<-over
		if cause, ok := errors.AsType[*quic.StreamError](reset); !ok || cause.ErrorCode != quic.StreamErrorCode(http3.ErrCodeRequestIncomplete) {
			t.Errorf("the stream ended with %v", reset)
		}
	})
	if !served(r.dialFrom(t, "127.0.0.1")) {
		t.Error("afterwards nobody is served")
	}
}

func TestABodyMayTakeLongerThanAHead(t *testing.T) {
	r := run(t, Options{HTTP3: true, RequestHeaderTimeout: 200 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("%s: %v", r.Proto, err)
		}
		_, _ = w.Write(b)
	})
	over3, _ := r.http3(t)
	over := func(h2 bool) *http.Client {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: h2}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	for name, client := range map[string]*http.Client{"h1": over(false), "h2": over(true), "h3": over3} {
		t.Run(name, func(t *testing.T) {
			body, feed := io.Pipe()
			time.AfterFunc(600*time.Millisecond, func() {
				_, _ = io.WriteString(feed, "late")
				_ = feed.Close()
			})
			res, err := client.Post("https://"+r.https, "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if text, err := io.ReadAll(res.Body); string(text) != "late" {
				t.Errorf("got %d %q, %v", res.StatusCode, text, err)
			}
		})
	}
}

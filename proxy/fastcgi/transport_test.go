package fastcgi_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/fastcgi"
	"github.com/sallyport/sallyport/proxy/upstream"
)

func TestAScriptSeesWhatRFC3875AndPHPUsersExpect(t *testing.T) {
	var env map[string]string
	var header http.Header
	server := responder(t, func(w http.ResponseWriter, r *http.Request) {
		env, header = fcgi.ProcessEnv(r), r.Header
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RequestURI(), r.Host)
	})
	r := httptest.NewRequest("GET", "https://a.example:8443/wp/a.php/in%20fo?x=1&y", nil)
	r.RemoteAddr = "[::ffff:192.0.2.7]:4711"
	r.Proto = "HTTP/2.0"
	r.Header = http.Header{
		"Cookie": {"a=1", "b=2"}, "Accept": {"x", "y"}, "Proxy": {"http://evil.example"}, "X.Odd": {"1"}, "Authorization": {"Bearer t"},
	}
	x := exchange.New(r)
	x.User = "anna"
	r = exchange.With(r, x)
	out := fastcgi.WithScript(r, &fastcgi.Script{Root: "/srv", Name: "wp/a.php", PathInfo: "/in fo", Request: r})
	res, err := fastcgi.New(fastcgi.Options{
		Server: server, Env: [][2]string{{"APP_ENV", "prod"}, {"SERVER_NAME", "own.example"}},
		Stderr: func(_ *http.Request, _, text string) { t.Error(text) },
	}).RoundTrip(out)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || string(body) != "GET /wp/a.php/in%20fo?x=1&y a.example:8443" {
		t.Errorf("%q %v", body, err)
	}
	for name, want := range map[string]string{
		"SCRIPT_FILENAME": "/srv/wp/a.php", "DOCUMENT_ROOT": "/srv", "DOCUMENT_URI": "/wp/a.php/in fo",
		"REMOTE_USER": "anna", "APP_ENV": "prod", "SERVER_NAME": "own.example", "REDIRECT_STATUS": "200", "PATH_TRANSLATED": "/srv/in fo",
	} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	if header.Get("Cookie") != "a=1; b=2" || header.Get("Accept") != "x, y" || header.Get("Authorization") != "Bearer t" {
		t.Errorf("fields: %v", header)
	}
	if header.Get("Proxy") != "" || header.Get("X-Odd") != "" || header.Get("X_odd") != "" {
		t.Errorf("passed on: %v", header)
	}
}

func TestLargeBodiesArriveWhole(t *testing.T) {
	const size = 5<<20 + 17
	sent := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
	server := responder(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.ContentLength != size {
			t.Errorf("length %d: %v", r.ContentLength, err)
		}
		w.Header().Set("X-Sum", fmt.Sprintf("%x", sha256.Sum256(body)))
		_, _ = w.Write(body)
	})
	res, err := ask(t, fastcgi.Options{Server: server, Timeout: 20 * time.Second}, "POST", bytes.NewReader(sent), size)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Equal(got, sent) || res.Header.Get("X-Sum") != fmt.Sprintf("%x", sha256.Sum256(sent)) {
		t.Errorf("%d bytes came back: %v", len(got), err)
	}
}

func TestAnAnswerIsStreamedWhileTheRequestIsStillSent(t *testing.T) {
	server := handmade(t, func(conn net.Conn, in *bufio.Reader) {
		fmt.Fprint(conn, send(6, "Content-Type: text/plain\r\n\r\n"))
		for {
			r, err := readRecord(in)
			if err != nil || r.kind == 5 && len(r.content) == 0 {
				break
			}
			fmt.Fprint(conn, send(6, string(r.content)))
		}
		fmt.Fprint(conn, send(6, "")+done)
	})
	body, client := io.Pipe()
	res, err := ask(t, fastcgi.Options{Server: server, Timeout: 10 * time.Second}, "POST", body, 6)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, piece := range []string{"one", "two"} {
		if _, err := io.WriteString(client, piece); err != nil {
			t.Fatal(err)
		}
		var got [3]byte
		if _, err := io.ReadFull(res.Body, got[:]); err != nil || string(got[:]) != piece {
			t.Fatalf("%q %v", got, err)
		}
	}
	_ = client.Close()
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
}

func TestHeadersOfAScript(t *testing.T) {
	for _, c := range []struct {
		output string
		status int
		length int64
		body   string
	}{
		{"Content-Type: text/html\r\n\r\nhi", 200, -1, "hi"},
		{"Content-Type: text/html\n\nhi", 200, -1, "hi"},
		{"Status: 404 Not Found\r\nContent-type: text/plain\r\n\r\nno", 404, -1, "no"},
		{"Status: 503\r\n\r\n", 503, -1, ""},
		{"Location: /elsewhere\r\n\r\n", 302, -1, ""},
		{"Status: 301 Moved\r\nLocation: https://b.example/\r\n\r\n", 301, -1, ""},
		{"Status: 201\r\nLocation: /new\r\n\r\n", 201, -1, ""},
		{"Content-Length: 2\r\n\r\nhi and more", 200, 2, "hi"},
		{"Status: 304\r\nContent-Length: 5\r\n\r\n", 304, 0, ""},
		{"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n\r\n\r\n", 200, -1, "\r\n\r\n"},
	} {
		server := handmade(t, func(conn net.Conn, _ *bufio.Reader) {
			for i := range len(c.output) { // as small as can be: a record of one byte each
				fmt.Fprint(conn, send(6, c.output[i:i+1]))
			}
			fmt.Fprint(conn, send(6, "")+done)
		})
		res, err := ask(t, fastcgi.Options{Server: server}, "GET", nil, 0)
		if err != nil {
			t.Errorf("%q: %v", c.output, err)
			continue
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != c.status || res.ContentLength != c.length || string(body) != c.body || res.Header.Get("Status") != "" {
			t.Errorf("%q: %d, length %d, %q, %v, %v", c.output, res.StatusCode, res.ContentLength, body, res.Header, err)
		}
		if strings.HasPrefix(c.output, "Set-Cookie") && len(res.Header["Set-Cookie"]) != 2 {
			t.Errorf("cookies: %v", res.Header)
		}
	}
}

func TestWhatIsNoAnswerIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		wire  string
		label string // of the refusal; "" is an upstream.Error
	}{
		"HTTP":                 {"HTTP/1.1 400 Bad Request\r\n\r\n", "upstream_malformed"},
		"another version":      {"\x02\x06\x00\x01\x00\x00\x00\x00", "upstream_malformed"},
		"another request":      {"\x01\x06\x00\x07\x00\x00\x00\x00", "upstream_malformed"},
		"no header":            {send(6, "hello") + send(6, "") + done, "upstream_malformed"},
		"no output":            {done, "upstream_malformed"},
		"a field without name": {send(6, ": x\r\n\r\n") + done, "upstream_malformed"},
		"a blank in a name":    {send(6, "X Y: x\r\n\r\n") + done, "upstream_malformed"},
		"a folded line":        {send(6, "X: a\r\n b\r\n\r\n") + done, "upstream_malformed"},
		"a NUL":                {send(6, "X: a\x00b\r\n\r\n") + done, "upstream_malformed"},
		"a CR in a value":      {send(6, "X: a\rY: b\r\n\r\n") + done, "upstream_malformed"},
		"status 101":           {send(6, "Status: 101\r\n\r\n") + done, "upstream_malformed"},
		"two statuses":         {send(6, "Status: 200\r\nStatus: 404\r\n\r\n") + done, "upstream_malformed"},
		"two lengths":          {send(6, "Content-Length: 1\r\nContent-Length: 2\r\n\r\n") + done, "upstream_malformed"},
		"a negative length":    {send(6, "Content-Length: -1\r\n\r\n") + done, "upstream_malformed"},
		"a header too long":    {strings.Repeat(send(6, "X: "+strings.Repeat("y", 1000)+"\r\n"), 80), "upstream_malformed"},
		"an overloaded server": {end(2), "upstream_overloaded"},
		"a role refused":       {end(3), "upstream_malformed"},
		"an early end":         {send(6, "Content-Ty"), ""},
		"nothing":              {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := handmade(t, func(conn net.Conn, _ *bufio.Reader) { fmt.Fprint(conn, c.wire) })
			res, err := ask(t, fastcgi.Options{Server: server, Timeout: 5 * time.Second}, "GET", nil, 0)
			if err == nil {
				_ = res.Body.Close()
				t.Fatalf("answered %d", res.StatusCode)
			}
			refused, ok := errors.AsType[*exchange.Refusal](err)
			if ok != (c.label != "") || ok && refused.Label != c.label {
				t.Errorf("%v", err)
			}
			if failed, ok := errors.AsType[*upstream.Error](err); c.label == "" && (!ok || failed.Stage != upstream.Exchange) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestATruncatedAnswerIsNotTakenForTheWhole(t *testing.T) {
	for _, wire := range []string{
		send(6, "X: y\r\n\r\nsome of it"),                                    // the connection ends without the last record
		send(6, "Content-Length: 50\r\n\r\nsome of it") + send(6, "") + done, // too few bytes
		send(6, "X: y\r\n\r\nsome")[:8+12],                                   // within a record
	} {
		server := handmade(t, func(conn net.Conn, _ *bufio.Reader) { fmt.Fprint(conn, wire) })
		res, err := ask(t, fastcgi.Options{Server: server}, "GET", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %q, %v", wire, body, err)
		}
		_ = res.Body.Close()
	}
}

func TestComplaintsOfAScriptAreToldButBounded(t *testing.T) {
	server := handmade(t, func(conn net.Conn, _ *bufio.Reader) {
		fmt.Fprint(conn, send(7, "PHP Warning: one\n")+send(6, "X: y\r\n\r\nbody")+send(7, "two")+strings.Repeat(send(7, strings.Repeat("z", 30000)), 20)+send(6, " end")+done)
	})
	var told []string
	o := fastcgi.Options{Server: server, Stderr: func(_ *http.Request, script, text string) { told = append(told, script+": "+text) }}
	res, err := ask(t, o, "GET", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if string(body) != "body end" || err != nil {
		t.Errorf("%q %v", body, err)
	}
	if len(told) != 1 || !strings.HasPrefix(told[0], "index.php: PHP Warning: one\ntwozz") || len(told[0]) > 5000 {
		t.Errorf("%d told, %d bytes", len(told), len(strings.Join(told, "")))
	}
}

func TestASilentServerIsGivenUpAndToldToStop(t *testing.T) {
	aborted := make(chan bool, 1)
	server := handmade(t, func(_ net.Conn, in *bufio.Reader) {
		for {
			r, err := readRecord(in)
			if err != nil || r.kind == 2 {
				aborted <- err == nil
				return
			}
		}
	})
	_, err := ask(t, fastcgi.Options{Server: server, Timeout: 50 * time.Millisecond}, "GET", nil, 0)
	failed, ok := errors.AsType[*upstream.Error](err)
	if !ok || failed.Stage != upstream.Exchange || !failed.Timeout() {
		t.Errorf("%v", err)
	}
	if !<-aborted {
		t.Error("the server was not told")
	}
}

func TestASlowUploadIsNotTheServersSilence(t *testing.T) {
	server := responder(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	body, client := io.Pipe()
	const limit = 80 * time.Millisecond
	go func() {
		for range 4 {
			<-time.After(limit / 2)
			_, _ = client.Write([]byte("x"))
		}
		_ = client.Close()
	}()
	res, err := ask(t, fastcgi.Options{Server: server, Timeout: limit}, "POST", body, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); string(got) != "xxxx" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

func TestAClientThatLeavesEndsTheExchange(t *testing.T) {
	ended := make(chan struct{})
	ctx, leave := context.WithCancelCause(t.Context())
	server := handmade(t, func(_ net.Conn, in *bufio.Reader) {
		leave(errors.New("left"))
		_, _ = io.Copy(io.Discard, in)
		close(ended)
	})
	r := httptest.NewRequestWithContext(ctx, "GET", "/index.php", nil)
	_, err := fastcgi.New(fastcgi.Options{Server: server}).RoundTrip(fastcgi.WithScript(r, &fastcgi.Script{Root: "/", Name: "index.php", Request: r}))
	if err == nil || !strings.Contains(err.Error(), "left") {
		t.Errorf("%v", err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the server still waits")
	}
}

func TestABrokenUploadIsNotTakenForTheWhole(t *testing.T) {
	got := make(chan bool, 1)
	server := handmade(t, func(_ net.Conn, in *bufio.Reader) {
		for {
			r, err := readRecord(in)
			if err != nil || r.kind == 5 && len(r.content) == 0 {
				got <- err == nil
				return
			}
		}
	})
	broken := io.MultiReader(strings.NewReader("some"), errorReader{errors.New("the client broke off")})
	if _, err := ask(t, fastcgi.Options{Server: server, Timeout: 5 * time.Second}, "POST", broken, 100); err == nil {
		t.Error("answered")
	}
	if <-got {
		t.Error("the server was told that the body is whole")
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

func TestABodyWithoutLengthIsRefused(t *testing.T) {
	_, err := ask(t, fastcgi.Options{Server: "unix:/nowhere"}, "POST", strings.NewReader("x"), -1)
	if refused, ok := errors.AsType[*exchange.Refusal](err); !ok || refused.Status != 411 {
		t.Errorf("%v", err)
	}
}

func TestAServerThatIsNotThere(t *testing.T) {
	_, err := ask(t, fastcgi.Options{Server: "unix:/nowhere/fpm.sock"}, "GET", nil, 0)
	if failed, ok := errors.AsType[*upstream.Error](err); !ok || !failed.Refused() || failed.Server != "unix:/nowhere/fpm.sock" {
		t.Errorf("%v", err)
	}
}

// FuzzAnswer: whatever a server sends, the exchange ends, and with a valid
// response or an error.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(send(6, "X: y\r\n\r\nbody") + send(6, "") + done))
	f.Add([]byte(send(7, "oops") + send(6, "Status: 404\r\nContent-Length: 3\r\n\r\nabc") + done))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Add([]byte(done))
	f.Fuzz(func(t *testing.T, wire []byte) {
		server := handmade(t, func(conn net.Conn, _ *bufio.Reader) { _, _ = conn.Write(wire) })
		res, err := ask(t, fastcgi.Options{Server: server, Timeout: 5 * time.Second}, "GET", nil, 0)
		if err != nil {
			return
		}
		defer res.Body.Close()
		n, err := io.Copy(io.Discard, res.Body)
		if res.StatusCode < 200 || res.StatusCode > 999 || err == nil && res.ContentLength >= 0 && res.StatusCode != 304 && n != res.ContentLength {
			t.Errorf("status %d, length %d, %d bytes, %v", res.StatusCode, res.ContentLength, n, err)
		}
	})
}

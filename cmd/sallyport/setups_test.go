package main

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

// TestSetups runs the configurations of deploy/examples as they are, but for
// addresses and folders: the real program gets its certificates from a test CA,
// and a stand-in behaves like the application in what a proxy can spoil. Each
// client forges what it can forge.
func TestSetups(t *testing.T) {
	world, _ := internet(t, "example.com")
	world.API.AddToken(acmetest.Token{Value: configuredToken, Zones: []string{"example.com"}})
	tests := map[string]func(*testing.T, *acmetest.World){
		"gitea":         testGitea,
		"gitlab":        testGitLab,
		"grafana":       testGrafana,
		"homeassistant": testHomeAssistant,
		"jellyfin":      testJellyfin,
		"nextcloud":     testNextcloud,
		"objectstore":   testObjectStore,
		"spa":           testSinglePage,
		"vaultwarden":   testVaultwarden,
		"wordpress":     testWordPress,
	}
	files, err := filepath.Glob(filepath.Join(repository, "deploy", "examples", "*.yaml"))
	if err != nil || len(files) != len(tests) {
		t.Fatalf("%d examples, %d tests, %v", len(files), len(tests), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if tests[name] == nil {
			t.Errorf("%s has no test", file)
			continue
		}
		t.Run(name, func(t *testing.T) { tests[name](t, world) })
	}
}

// setup is one of the examples at work.
type setup struct {
	t       *testing.T
	address string
	roots   *x509.CertPool
}

// runSetup starts the program with an example, in which texts are replaced, and
// waits until the names have certificates.
func runSetup(t *testing.T, world *acmetest.World, example string, names int, replaced ...string) *setup {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(repository, "deploy", "examples", example+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	text := string(content)
	const head = "acme: {email: ops@example.com}\ncloudflare: [{zones: [example.com], token_file: /run/secrets/cloudflare}]\n"
	for pair := range slices.Chunk(append(replaced, head, worldConfig(t, dir, world, configuredToken, "example.com")), 2) {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("the example has no %q", pair[0])
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	path := writeConfig(t, dir, text)
	var said strings.Builder
	if code := execute(sealing{}, []string{"check", "--config", path}, &said, &said); code != exitOK || strings.Contains(said.String(), "warning") {
		t.Fatalf("check: %d\n%s", code, said.String())
	}
	i := start(t, nil, "run", "--config", path)
	for line := 0; names > 0; names-- {
		_, line = i.await(line, "certificate obtained", func(l logLine) bool { return l.message() == "certificate obtained" })
	}
	return &setup{t: t, address: i.https(), roots: world.IssuingRoots()}
}

// application serves what stands behind the proxy.
func application(t *testing.T, handler http.HandlerFunc) (address string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// seenRightly says whether an application that goes by the usual fields sees
// the visitor and its own address as they are.
func seenRightly(t *testing.T, r *http.Request, host string) {
	t.Helper()
	for name, want := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": host,
		"Forwarded": "", "Cf-Connecting-Ip": "", "True-Client-Ip": "", "X-Forwarded-Prefix": "",
	} {
		if got := r.Header.Values(name); strings.Join(got, " | ") != want {
			t.Errorf("%s %s has %s: %q, want %q", r.Method, r.RequestURI, name, got, want)
		}
	}
	if r.Host != host {
		t.Errorf("%s %s came for host %q", r.Method, r.RequestURI, r.Host)
	}
}

// forger sends with each request what a visitor would like to be believed.
type forger struct{ over http.RoundTripper }

func (f forger) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "Cf-Connecting-Ip", "True-Client-Ip"} {
		out.Header.Set(name, "192.168.1.10")
	}
	out.Header.Set("Forwarded", "for=192.168.1.10;proto=http;host=evil.example")
	out.Header.Set("X-Forwarded-Host", "evil.example")
	out.Header.Set("X-Forwarded-Proto", "http")
	return f.over.RoundTrip(out)
}

// visit is one visitor, of HTTP/1.1 or HTTP/2, of one host.
type visit struct {
	t      *testing.T
	host   string
	h2     bool
	client *http.Client
	over   *http.Transport
	setup  *setup
}

// over runs test as visitors of both versions.
func (s *setup) over(host string, test func(*visit)) {
	s.t.Helper()
	for _, h2 := range []bool{false, true} {
		name := "HTTP/1.1"
		if h2 {
			name = "HTTP/2"
		}
		s.t.Run(name, func(t *testing.T) { test(s.visitor(t, host, h2)) })
	}
}

func (s *setup) visitor(t *testing.T, host string, h2 bool) *visit {
	over := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, s.address)
		},
		ForceAttemptHTTP2:     h2,
		ExpectContinueTimeout: patience,
		DisableCompression:    true,
	}
	t.Cleanup(over.CloseIdleConnections)
	client := &http.Client{
		Transport: forger{over}, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &visit{t: t, host: host, h2: h2, client: client, over: over, setup: s}
}

// send asks for a target exactly as it is written. The caller reads the body.
func (v *visit) send(method, target string, content io.Reader, fields ...string) *http.Response {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, "https://"+v.host+"/", content)
	if err != nil {
		v.t.Fatal(err)
	}
	r.URL.Opaque = target // sent as it is, which a Path would not be
	if strings.HasPrefix(target, "//") {
		r.URL = &url.URL{Scheme: "https", Host: v.host, Path: target, RawPath: target}
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Add(name, value)
		if name == "Content-Length" {
			if r.ContentLength, err = strconv.ParseInt(value, 10, 64); err != nil {
				v.t.Fatal(err)
			}
			r.Header.Del(name)
		}
	}
	res, err := v.client.Do(r)
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, target, err)
	}
	v.t.Cleanup(func() { _ = res.Body.Close() })
	if want := map[bool]int{false: 1, true: 2}[v.h2]; res.ProtoMajor != want {
		v.t.Fatalf("the answer came over HTTP/%d", res.ProtoMajor)
	}
	return res
}

// ask is send with the answer's body read.
func (v *visit) ask(method, target, content string, fields ...string) (*http.Response, string) {
	v.t.Helper()
	var from io.Reader
	if content != "" {
		from = strings.NewReader(content)
	}
	res := v.send(method, target, from, fields...)
	text, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, target, err)
	}
	return res, string(text)
}

// wants asks and expects a status and, unless it is empty, a body.
func (v *visit) wants(method, target string, status int, text string, fields ...string) *http.Response {
	v.t.Helper()
	res, got := v.ask(method, target, "", fields...)
	if res.StatusCode != status || text != "" && got != text {
		v.t.Errorf("%s %s: %d %.200q, want %d %.200q", method, target, res.StatusCode, got, status, text)
	}
	return res
}

// refused asks for a target in each of its spellings and expects no success.
func (v *visit) refused(targets ...string) {
	v.t.Helper()
	for _, target := range targets {
		if res, text := v.ask("GET", target, ""); res.StatusCode < 400 {
			v.t.Errorf("%s: %d %.100q", target, res.StatusCode, text)
		}
	}
}

// uploads sends n bytes, of unknown or announced length, and expects the
// application to answer with their digest. It asks before it sends.
func (v *visit) uploads(method, target string, n int64, announced bool, fields ...string) {
	v.t.Helper()
	fields = append(fields, "Expect: 100-continue")
	if announced {
		fields = append(fields, "Content-Length: "+strconv.FormatInt(n, 10))
	}
	sum := sha256.New()
	res := v.send(method, target, io.TeeReader(io.LimitReader(pattern{}, n), sum), fields...)
	text, err := io.ReadAll(res.Body)
	if want := hex.EncodeToString(sum.Sum(nil)); err != nil || string(text) != want {
		v.t.Errorf("%s %s of %d bytes: %d %.200q, %v, want %s", method, target, n, res.StatusCode, text, err, want)
	}
}

// pattern is an endless upload.
type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i * 7)
	}
	return len(p), nil
}

// digest answers with that of the body.
func digest(t *testing.T, w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	if _, err := io.Copy(sum, r.Body); err != nil {
		t.Errorf("%s %s: %v", r.Method, r.RequestURI, err)
	}
	_, _ = io.WriteString(w, hex.EncodeToString(sum.Sum(nil)))
}

// tooLarge announces a body that must be refused before a byte of it is asked for.
func (v *visit) tooLarge(method, target string, n int64) {
	v.t.Helper()
	asked := false
	body := readerFunc(func(p []byte) (int, error) { asked = true; return pattern{}.Read(p) })
	res := v.send(method, target, body, "Expect: 100-continue", "Content-Length: "+strconv.FormatInt(n, 10))
	if res.StatusCode != http.StatusRequestEntityTooLarge || asked {
		v.t.Errorf("%d bytes: status %d, body asked for: %v", n, res.StatusCode, asked)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// streams expects the beginning of an answer while the application still holds
// back the rest, then has it go on.
func (v *visit) streams(target, first, rest string, goOn chan<- struct{}) {
	v.t.Helper()
	res := v.send("GET", target, nil)
	begin := make([]byte, len(first))
	if _, err := io.ReadFull(res.Body, begin); err != nil || string(begin) != first {
		v.t.Errorf("%s began with %q, %v", target, begin, err)
	}
	goOn <- struct{}{}
	if end, err := io.ReadAll(res.Body); err != nil || string(end) != rest {
		v.t.Errorf("%s ended with %q, %v", target, end, err)
	}
}

// socket opens a WebSocket from a page of the same site.
func (v *visit) socket(target string, protocols ...string) *websocket.Conn {
	v.t.Helper()
	var over http.RoundTripper = v.over
	if v.h2 {
		over = v.extended()
	}
	c, _, err := websocket.Dial(v.t.Context(), "wss://"+v.host+target, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: forger{over}}, Subprotocols: protocols,
		HTTPHeader: http.Header{"Origin": {"https://" + v.host}},
	})
	if err != nil {
		v.t.Fatalf("%s: %v", target, err)
	}
	v.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// converses says and hears messages in turn, the server's first.
func (v *visit) converses(c *websocket.Conn, messages ...string) {
	v.t.Helper()
	for n, want := range messages {
		if n%2 == 1 {
			if err := c.Write(v.t.Context(), websocket.MessageText, []byte(want)); err != nil {
				v.t.Fatal(err)
			}
		} else if _, got, err := c.Read(v.t.Context()); err != nil || string(got) != want {
			v.t.Fatalf("heard %q, %v, want %q", got, err, want)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		v.t.Error(err)
	}
}

// talk is the other side: what it says and what it hears, in turn.
func talk(t *testing.T, w http.ResponseWriter, r *http.Request, o *websocket.AcceptOptions, messages ...string) {
	c, err := websocket.Accept(w, r, o) // which compares Origin with Host
	if err != nil {
		t.Errorf("%s: %v", r.RequestURI, err)
		return
	}
	defer func() { _ = c.CloseNow() }()
	for n, want := range messages {
		if n%2 == 0 {
			if err := c.Write(r.Context(), websocket.MessageText, []byte(want)); err != nil {
				t.Error(err)
			}
		} else if _, got, err := c.Read(r.Context()); err != nil || string(got) != want {
			t.Errorf("the application heard %q, %v, want %q", got, err, want)
		}
	}
	_, _, _ = c.Read(r.Context()) // the end
}

// extended makes the handshake of coder/websocket, which knows only HTTP/1.1,
// an extended CONNECT (RFC 8441), and the answer to that a 101.
func (v *visit) extended() http.RoundTripper {
	//lint:ignore SA1019 net/http's Transport refuses the field :protocol
	h2 := &http2.Transport{}
	//lint:ignore SA1019 as above
	h2.DialTLSContext = func(ctx context.Context, network, _ string, secure *tls.Config) (net.Conn, error) {
		secure.RootCAs = v.setup.roots
		dialer := tls.Dialer{Config: secure}
		return dialer.DialContext(ctx, network, v.setup.address)
	}
	//lint:ignore SA1019 as above
	v.t.Cleanup(h2.CloseIdleConnections)
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		toServer, feed := io.Pipe()
		out := r.Clone(r.Context())
		out.Method, out.Body = http.MethodConnect, toServer
		key := out.Header.Get("Sec-Websocket-Key")
		for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key"} {
			out.Header.Del(name)
		}
		out.Header.Set(":protocol", "websocket")
		//lint:ignore SA1019 as above
		res, err := h2.RoundTrip(out)
		if err != nil || res.StatusCode != http.StatusOK {
			return res, err
		}
		sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		res.StatusCode = http.StatusSwitchingProtocols
		res.Header.Set("Connection", "Upgrade")
		res.Header.Set("Upgrade", "websocket")
		res.Header.Set("Sec-Websocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
		res.Body = &duplex{res.Body, feed}
		return res, nil
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// duplex is a stream as a connection; closing it is a reset.
type duplex struct {
	io.ReadCloser
	feed *io.PipeWriter
}

func (d *duplex) Write(p []byte) (int, error) { return d.feed.Write(p) }

func (d *duplex) Close() error {
	_ = d.feed.CloseWithError(net.ErrClosed)
	return d.ReadCloser.Close()
}

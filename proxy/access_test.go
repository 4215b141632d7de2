package proxy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/zap"
	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/config"
)

// configured reads a configuration with the limits of the tests.
func configured(t testing.TB, format string, values ...any) *config.Config {
	t.Helper()
	cfg, problems := config.Parse("sallyport.yaml", fmt.Appendf(nil, format, values...))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	cfg.Limits = limits()
	return cfg
}

// tell is a server that answers with the fields that say who a client is.
func tell(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	var lines []string
	for _, h := range []http.Header{r.Header, r.Trailer} {
		for name, values := range h {
			switch {
			case strings.HasPrefix(name, "X-") && name != "X-Request-Id", strings.HasPrefix(name, "Remote"), strings.Contains(name, "Ip"), name == "Forwarded", name == "Authorization":
				lines = append(lines, name+"="+strings.Join(values, "|"))
			}
		}
	}
	slices.Sort(lines)
	fmt.Fprint(w, strings.Join(lines, " "))
}

// fetch asks through a client and returns status and body.
func fetch(t testing.TB, client *http.Client, url string, fields ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header[name] = append(r.Header[name], value)
	}
	res, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, body(t, res)
}

var claims = []string{
	"X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9;proto=http", "X-Real-Ip: 203.0.113.9", "Cf-Connecting-Ip: 203.0.113.9",
	"True-Client-Ip: 203.0.113.9", "X-Client-Ip: 203.0.113.9", "X-Forwarded-Proto: http", "X-Forwarded-Host: evil", "X-Forwarded-Port: 1",
	"Client-Ip: 203.0.113.9", "X-Cluster-Client-Ip: 203.0.113.9", "X-Original-Url: /evil", "X-Rewrite-Url: /evil", "X-Original-Host: evil", "X-Scheme: http",
}

func TestAStrangersClaimsAboutItselfAreNeitherBelievedNorPassedOn(t *testing.T) {
	server := backend(t, tell)
	w := start(t, configured(t, "trusted_proxies: [cloudflare, 10.0.0.0/8]\nsites:\n  a.test: {tls: internal, proxy: %[1]q}\n  b.test: {tls: internal, allow: 203.0.113.0/24, proxy: %[1]q}\n", server))
	for _, h2 := range []bool{false, true} {
		status, got := fetch(t, w.client(h2), "https://a.test/", claims...)
		if want := "X-Forwarded-For=127.0.0.1 X-Forwarded-Host=a.test X-Forwarded-Proto=https X-Real-Ip=127.0.0.1"; status != 200 || got != want {
			t.Errorf("HTTP/2 %v: %d %s, want %s", h2, status, got, want)
		}
		if status, _ := fetch(t, w.client(h2), "https://b.test/", claims...); status != 403 {
			t.Errorf("HTTP/2 %v: let in with %d", h2, status)
		}
	}
	for _, h2 := range []bool{false, true} {
		if status, got := fetch(t, w.client(h2), "https://a.test/", "X_Forwarded_For: 203.0.113.9"); status != 400 {
			t.Errorf("HTTP/2 %v, with an underscore: %d %s", h2, status, got)
		}
	}
	if got := w.logs.FilterField(zap.String("cause", "address_denied")).Len(); got == 0 {
		t.Error("the refusal is not logged")
	}
}

func TestATrustedProxysClaimIsTheClient(t *testing.T) {
	server := backend(t, tell)
	w := start(t, configured(t, "trusted_proxies: [127.0.0.1, 10.0.0.0/8]\nsites:\n  a.test: {tls: internal, allow: 203.0.113.0/24, proxy: %q}\n", server))
	client := w.client(false)
	status, got := fetch(t, client, "https://a.test/", "X-Forwarded-For: 198.51.100.77, 203.0.113.9, 10.0.0.3", "X-Forwarded-Proto: http", "Cf-Connecting-Ip: 198.51.100.77", "X-Real-Ip: 198.51.100.77")
	if want := "X-Forwarded-For=203.0.113.9, 10.0.0.3, 127.0.0.1 X-Forwarded-Host=a.test X-Forwarded-Proto=http X-Real-Ip=203.0.113.9"; status != 200 || got != want {
		t.Errorf("%d %s, want %s", status, got, want)
	}
	for want, fields := range map[int][]string{
		403: {"X-Forwarded-For: 203.0.113.9, 198.51.100.77"},
		400: {"X-Forwarded-For: 198.51.100.77", "Forwarded: for=203.0.113.9"},
		200: {"Forwarded: for=198.51.100.77, for=203.0.113.9"},
	} {
		if status, _ := fetch(t, client, "https://a.test/", fields...); status != want {
			t.Errorf("%q: %d, want %d", fields, status, want)
		}
	}
	if fields := w.logged("client_ambiguous"); fields["hint"] == "" {
		t.Error("no hint")
	}
	// Plain HTTP to us, but TLS to the client: no redirect in circles.
	if status, _ := fetch(t, client, "http://a.test/", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"); status != 200 {
		t.Errorf("over plain HTTP from a proxy with TLS: %d", status)
	}
	if status, _ := fetch(t, client, "http://a.test/", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: http"); status != 301 {
		t.Errorf("over plain HTTP throughout: %d", status)
	}
	// A reload takes effect on connections that are open.
	w.commit(configured(t, "sites:\n  a.test: {tls: internal, allow: 203.0.113.0/24, proxy: %q}\n", server))
	if status, _ := fetch(t, client, "https://a.test/", "X-Forwarded-For: 203.0.113.9"); status != 403 {
		t.Errorf("after the reload: %d", status)
	}
	if status, _ := fetch(t, client, "http://a.test/", "X-Forwarded-Proto: https"); status != 301 {
		t.Errorf("after the reload, over plain HTTP: %d", status)
	}
}

func TestABalancersPreambleIsTheClient(t *testing.T) {
	server := backend(t, tell)
	w := start(t, configured(t, "listen: {proxy_protocol: 127.0.0.1}\nsites:\n  a.test: {tls: internal, allow: 203.0.113.0/24, proxy: %q}\n", server))
	ask := func(preamble string) string {
		c, err := net.Dial("tcp", w.https)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		write(t, c, preamble)
		secure := tls.Client(c, &tls.Config{ServerName: "a.test", RootCAs: w.roots})
		if err := secure.Handshake(); err != nil {
			return "refused"
		}
		write(t, secure, "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n")
		answer, _ := io.ReadAll(secure)
		return string(answer)
	}
	if got := ask("PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n"); !strings.Contains(got, "200 OK") || !strings.Contains(got, "X-Real-Ip=203.0.113.9") {
		t.Errorf("got %s", got)
	}
	if got := ask("PROXY TCP4 198.51.100.77 127.0.0.1 1 2\r\n"); !strings.Contains(got, "403") {
		t.Errorf("another client: %s", got)
	}
	if got := ask(""); got != "refused" {
		t.Errorf("without: %s", got)
	}
}

func TestALoginIsAskedForWhereTheSiteSaysAndNotWhereARouteSaysOff(t *testing.T) {
	server := backend(t, tell)
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), 4)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(file, []byte("ann:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, configured(t, `sites:
  a.test:
    tls: internal
    basic_auth: {realm: Admin, users_file: %[2]s}
    routes:
      - {path: /open, basic_auth: off, proxy: %[1]q}
      - {path: /, proxy: %[1]q}
  b.test: {tls: internal, basic_auth: {users: {ann: %[3]s}, pass_authorization: true}, proxy: %[1]q}
`, server, file, hash))
	client := w.client(false)
	const right, wrong = "Authorization: Basic YW5uOnNlY3JldA==", "Authorization: Basic YW5uOndyb25n"
	for _, c := range []struct {
		url    string
		fields []string
		status int
		says   string
	}{
		{"https://a.test/", nil, 401, ""},
		{"https://a.test/", []string{wrong}, 401, ""},
		{"https://a.test/", []string{right}, 200, "X-Forwarded-For"}, // and no Authorization before it
		{"https://a.test/", []string{right, wrong}, 400, ""},
		{"https://a.test/open", nil, 200, ""},
		{"https://a.test/%6fpen/../x", nil, 401, ""},
		{"https://b.test/", []string{right}, 200, right[:13] + "=" + right[15:]},
		{"https://b.test/", nil, 401, ""},
	} {
		status, got := fetch(t, client, c.url, c.fields...)
		if status != c.status || c.status == 200 && !strings.HasPrefix(got, c.says) {
			t.Errorf("%s with %q: %d %s, want %d %s", c.url, c.fields, status, got, c.status, c.says)
		}
	}
	res, err := client.Get("https://a.test/")
	if err != nil {
		t.Fatal(err)
	}
	if body(t, res); res.Header.Get("WWW-Authenticate") != `Basic realm="Admin", charset="UTF-8"` {
		t.Errorf("challenge %q", res.Header.Get("WWW-Authenticate"))
	}
	// A file that has become bad stops a reload, with the line and the cure.
	if err := os.WriteFile(file, []byte("ann:$apr1$x$y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = w.proxy.Prepare(configured(t, "sites:\n  a.test:\n    tls: internal\n    basic_auth: {realm: Other, users_file: %s}\n    proxy: %q\n", file, server))
	if err == nil || !strings.Contains(err.Error(), "sallyport.yaml:4:") || !strings.Contains(err.Error(), "line 1: user \"ann\" has an MD5 hash") || !strings.Contains(err.Error(), "htpasswd -nB") {
		t.Errorf("got %v", err)
	}
	if status, _ := fetch(t, client, "https://a.test/", right); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
}

func TestWhoAClientIsCannotBeForgedOnAnyRouteOrSite(t *testing.T) {
	server := backend(t, tell)
	authority := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "session=1" {
			http.Redirect(w, r, "https://login.test/?rd=x", http.StatusFound)
			return
		}
		w.Header().Set("Remote-User", "ann")
		w.Header().Set("Set-Cookie", "session=2")
	})
	w := start(t, configured(t, `sites:
  a.test:
    tls: internal
    routes:
      - {path: /private/, forward_auth: {url: %[2]s/auth, copy_headers: [Remote-User, Remote-Groups]}, proxy: %[1]q}
      - {path: /, proxy: %[1]q}
  b.test: {tls: internal, proxy: %[1]q}
`, server, authority))
	forged := []string{"Remote-User: admin", "Remote-Groups: admins", "remote-user: admin", "REMOTE-USER: admin"}
	for _, h2 := range []bool{false, true} {
		client := w.client(h2)
		for _, c := range []struct {
			url    string
			fields []string
			status int
			who    string
		}{
			{"https://a.test/private/x", []string{"Cookie: session=1"}, 200, "Remote-User=ann"},
			{"https://a.test/private/x", nil, 302, ""},
			{"https://a.test/", nil, 200, ""},
			{"https://b.test/", nil, 200, ""},
		} {
			status, got := fetch(t, client, c.url, append(forged, c.fields...)...)
			who, _, _ := strings.Cut(got, " X-")
			if status != c.status || status == 200 && strings.Contains(who, "Remote") != (c.who != "") || c.who != "" && who != c.who {
				t.Errorf("HTTP/2 %v, %s: %d %q, want %d %q", h2, c.url, status, got, c.status, c.who)
			}
		}
	}
	for _, name := range []string{"Remote_User", "REMOTE_USER", "remote_user", "X_Remote-User", "Remote_user"} {
		status, got := fetch(t, w.client(false), "https://a.test/", name+": admin")
		if status != 400 && strings.Contains(strings.ToLower(got), "remote") {
			t.Errorf("%s: %d %q", name, status, got)
		}
	}
	res := answer(t, w.say("a.test", "POST /private/x HTTP/1.1\r\nHost: a.test\r\nCookie: session=1\r\nTransfer-Encoding: chunked\r\nTrailer: Remote-User, Remote-Groups\r\n\r\n0\r\nRemote-User: admin\r\nRemote-Groups: admins\r\n\r\n"), "POST")
	if got := body(t, res); !strings.HasPrefix(got, "Remote-User=ann X-") || res.Header.Get("Set-Cookie") != "session=2" {
		t.Errorf("by trailers: %q %v", got, res.Header)
	}
	// The body of a request that was turned away is not taken for a request.
	reader := w.say("a.test", "POST /private/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 41\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if res = answer(t, reader, "POST"); res.StatusCode != 302 {
		t.Errorf("turned away with %d", res.StatusCode)
	}
	body(t, res)
	if !res.Close {
		if res = answer(t, reader, "GET"); res.StatusCode != 200 {
			t.Errorf("the next request got %d", res.StatusCode)
		}
		body(t, res)
	}
	res = answer(t, w.say("a.test", "GET /private/x HTTP/1.1\r\nHost: a.test\r\nCookie: session=1\r\nConnection: Remote-User\r\nRemote-User: admin\r\n\r\n"), "GET")
	if got := body(t, res); !strings.HasPrefix(got, "Remote-User=ann X-") {
		t.Errorf("by Connection: %q", got)
	}
}

func TestNobodyComesInWhileTheAuthenticationServerIsDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	w := start(t, configured(t, "upstreams: {app: {servers: [%q]}}\nsites:\n  a.test: {tls: internal, forward_auth: {url: \"http://%s/auth\", timeout: 1s}, proxy: app}\n", backend(t, tell), l.Addr()))
	if status, got := fetch(t, w.client(false), "https://a.test/"); status < 500 {
		t.Errorf("%d %s", status, got)
	}
}

func TestATokenIsCheckedWithTheKeysOfAnAddress(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/keys" || r.Header.Get("Authorization") != "" {
			w.WriteHeader(404)
			return
		}
		text, _ := (jose.JSONWebKey{Key: &key.PublicKey, KeyID: "k", Algorithm: "ES256"}).MarshalJSON()
		fmt.Fprintf(w, `{"keys":[%s]}`, text)
	})
	w := start(t, configured(t, "sites:\n  a.test:\n    tls: internal\n    jwt: {jwks_url: %s/keys, issuer: https://id.test, audience: app, headers: {X-User: sub, X-Groups: groups}, remove_token: true}\n    proxy: %q\n", issuer, backend(t, tell)))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token := func(expiry time.Duration) string {
		text, err := jwt.Signed(signer).Claims(map[string]any{"iss": "https://id.test", "aud": "app", "sub": "ann", "groups": []string{"a", "b"}, "exp": time.Now().Add(expiry).Unix()}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return "Authorization: Bearer " + text
	}
	client := w.client(true)
	if status, got := fetch(t, client, "https://a.test/", token(time.Hour), "X-User: admin", "X-Groups: admins"); status != 200 || !strings.Contains(got, "X-Groups=a,b X-Real-Ip=127.0.0.1 X-User=ann") || strings.Contains(got, "Authorization") {
		t.Errorf("%d %s", status, got)
	}
	if status, _ := fetch(t, client, "https://a.test/", token(-time.Hour)); status != 401 {
		t.Errorf("expired: %d", status)
	}
	if status, _ := fetch(t, client, "https://a.test/", "X-User: ann"); status != 401 {
		t.Errorf("without: %d", status)
	}
}

// staff is an authority of clients, in a file, and one certificate of it.
func staff(t testing.TB, file, name string) tls.Certificate {
	t.Helper()
	make := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "staff"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, key := make(root, root, nil)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	leaf, own := make(&x509.Certificate{SerialNumber: big.NewInt(0x1f), Subject: pkix.Name{CommonName: name, Organization: []string{"A\r\nB"}}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, EmailAddresses: []string{name + "@a.test"}}, root, key)
	return tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: own}
}

func (w *world) with(h2 bool, certificates ...tls.Certificate) *http.Client {
	client := w.client(h2)
	client.Transport.(*http.Transport).TLSClientConfig.Certificates = certificates
	return client
}

func TestAClientsCertificateHoldsForItsSiteOnly(t *testing.T) {
	dir := t.TempDir()
	ann := staff(t, dir+"/staff.pem", "ann")
	eve := staff(t, dir+"/others.pem", "eve")
	text := `sites:
  a.test: {tls: {issuer: internal, client_auth: {ca: %[2]s/staff.pem, headers: {X-Subject: subject, X-Serial: serial, X-Names: names}}}, proxy: %[1]q}
  b.test: {tls: {issuer: internal, client_auth: {ca: %[2]s/others.pem}}, proxy: %[1]q}
  may.test: {tls: {issuer: internal, client_auth: {mode: verify_if_given, ca: %[2]s/staff.pem, headers: {X-Cn: common_name}}}, proxy: %[1]q}
  open.test: {tls: internal, proxy: %[1]q}
`
	server := backend(t, tell)
	w := start(t, configured(t, text, server, dir))
	forged := []string{"X-Subject: CN=admin", "X-Serial: 1", "X-Names: admin", "X-Cn: admin"}
	for _, h2 := range []bool{false, true} {
		for _, c := range []struct {
			who    string
			client *http.Client
			url    string
			status int
			says   string
		}{
			{"ann", w.with(h2, ann), "https://a.test/", 200, `X-Names=ann@a.test X-Real-Ip=127.0.0.1 X-Serial=1f X-Subject=CN=ann,O=A\0D\0AB`},
			{"nobody", w.with(h2), "https://a.test/", 0, ""},
			{"eve", w.with(h2, eve), "https://a.test/", 0, ""},
			{"ann", w.with(h2, ann), "https://b.test/", 0, ""},
			{"eve", w.with(h2, eve), "https://b.test/", 200, "X-Real-Ip=127.0.0.1"},
			{"ann", w.with(h2, ann), "https://may.test/", 200, "X-Cn=ann X-F"},
			{"nobody", w.with(h2), "https://may.test/", 200, "X-Real-Ip=127.0.0.1"},
			{"nobody", w.with(h2), "https://open.test/", 200, "X-Real-Ip=127.0.0.1"},
		} {
			status, got := fetch(t, c.client, c.url, forged...)
			if status != c.status || !strings.Contains(got, c.says) || strings.Contains(got, "admin") {
				t.Errorf("HTTP/2 %v, %s at %s: %d %s, want %d %s", h2, c.who, c.url, status, got, c.status, c.says)
			}
		}
	}
	// What was verified for one site must not open another: not by another Host
	// on the connection, not without a server name.
	for _, c := range []struct{ sni, host string }{{"open.test", "a.test"}, {"a.test", "b.test"}, {"may.test", "a.test"}, {"", "a.test"}} {
		config := &tls.Config{ServerName: c.sni, InsecureSkipVerify: true, Certificates: []tls.Certificate{ann}}
		conn, err := tls.Dial("tcp", w.https, config)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		write(t, conn, "GET / HTTP/1.1\r\nHost: "+c.host+"\r\nConnection: close\r\n\r\n")
		got, _ := io.ReadAll(conn)
		conn.Close()
		if !strings.HasPrefix(string(got), "HTTP/1.1 421 ") {
			t.Errorf("handshake with %q, Host %q: %s", c.sni, c.host, got)
		}
	}
}

func TestConnectionsFromBeforeACertificateWasAskedForAreSentAway(t *testing.T) {
	dir := t.TempDir()
	ann := staff(t, dir+"/staff.pem", "ann")
	server := backend(t, tell)
	const text = "sites:\n  a.test: {tls: {issuer: internal%s}, proxy: %q}\n"
	w := start(t, configured(t, text, "", server))
	for _, h2 := range []bool{false, true} {
		w.commit(configured(t, text, "", server))
		client := w.with(h2, ann)
		if status, _ := fetch(t, client, "https://a.test/"); status != 200 {
			t.Fatalf("HTTP/2 %v: %d", h2, status)
		}
		asking := configured(t, text, ", client_auth: {ca: "+dir+"/staff.pem}", server)
		w.commit(asking)
		if status, _ := fetch(t, client, "https://a.test/"); status != 421 {
			t.Errorf("HTTP/2 %v: the old connection got %d", h2, status)
		}
		eventually(t, "a new connection with the certificate", func() bool {
			status, _ := fetch(t, client, "https://a.test/")
			return status == 200
		})
		w.commit(asking) // a reload that changes nothing keeps sessions and connections
		if status, _ := fetch(t, client, "https://a.test/"); status != 200 {
			t.Errorf("HTTP/2 %v: after a reload without a change: %d", h2, status)
		}
	}
	// An authority that is taken away ends what it let in, without a reload.
	client := w.with(true, ann)
	if status, _ := fetch(t, client, "https://a.test/"); status != 200 {
		t.Fatal(status)
	}
	staff(t, dir+"/staff.pem", "somebody else")
	eventually(t, "the old authority to count no more", func() bool {
		status, _ := fetch(t, client, "https://a.test/")
		return status == 421 || status == 0
	})
}

func TestAClientsCertificateOverHTTP3(t *testing.T) {
	dir := t.TempDir()
	ann := staff(t, dir+"/staff.pem", "ann")
	cfg := configured(t, "listen: {http3: true}\nsites:\n  a.test: {tls: {issuer: internal, client_auth: {ca: %s/staff.pem, headers: {X-Cn: common_name}}}, proxy: %q}\n  open.test: {tls: internal, proxy: %[2]q}\n", dir, backend(t, tell))
	w := start(t, cfg)
	for want, certificates := range map[int][]tls.Certificate{200: {ann}, 0: nil} {
		client := w.client3("a.test")
		client.Transport.(*http3.Transport).TLSClientConfig.Certificates = certificates
		if status, got := fetch(t, client, "https://a.test/"); status != want || want == 200 && !strings.Contains(got, "X-Cn=ann") {
			t.Errorf("%d certificates: %d %s", len(certificates), status, got)
		}
	}
	client := w.client3("open.test")
	client.Transport.(*http3.Transport).TLSClientConfig.Certificates = []tls.Certificate{ann}
	if status, _ := fetch(t, client, "https://a.test/"); status != 421 {
		t.Errorf("another site's connection: %d", status)
	}
}

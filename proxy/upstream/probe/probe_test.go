package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// to sends requests to a real server.
type to struct {
	*http.Transport
	server *url.URL
}

func (t to) RoundTrip(req *http.Request) (*http.Response, error) {
	req.URL.Scheme, req.URL.Host = t.server.Scheme, t.server.Host
	return t.Transport.RoundTrip(req)
}

func serve(t *testing.T, h2c bool, h http.HandlerFunc) to {
	var protocols http.Protocols
	protocols.SetHTTP1(!h2c)
	protocols.SetUnencryptedHTTP2(h2c)
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = &protocols
	s.Start()
	u, _ := url.Parse(s.URL)
	transport := &http.Transport{Protocols: &protocols}
	t.Cleanup(func() { transport.CloseIdleConnections(); s.Close() })
	return to{transport, u}
}

func TestHTTPAnswers(t *testing.T) {
	server := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "app.test" || r.Method != "GET" || r.UserAgent() != "sallyport-health" {
			t.Errorf("asked %s %s as %s", r.Method, r.Host, r.UserAgent())
		}
		switch r.RequestURI {
		case "/":
			io.WriteString(w, "all is ok here")
		case "/moved?x=1":
			w.Header().Set("Location", "/")
			w.WriteHeader(302)
		case "/sick":
			w.WriteHeader(500)
		case "/large":
			io.WriteString(w, strings.Repeat("x", mostBody)+"ok")
		}
	})
	for _, c := range []struct {
		path, body string
		max        int
		want       string
	}{
		{"", "", 399, ""},
		{"/", "ok", 399, ""},
		{"/moved?x=1", "", 399, ""},
		{"/moved?x=1", "", 299, "status 302"},
		{"/sick", "", 399, "status 500, want 200 to 399"},
		{"/", "good", 399, `"good"`},
		{"/large", "ok", 399, "does not contain"},
	} {
		err := Check(t.Context(), server, Options{Path: c.path, Host: "app.test", StatusMin: 200, StatusMax: c.max, Body: c.body})
		if c.want == "" && err == nil {
			continue
		}
		if _, ok := errors.AsType[*BadAnswer](err); !ok || c.want == "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, body %q: %v, want %q", c.path, c.body, err, c.want)
		}
	}
}

// frame is a message as gRPC sends it.
func frame(message string) string {
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))) + message
}

func TestGRPCAnswers(t *testing.T) {
	for _, c := range []struct{ status, body, want string }{
		{"0", frame("\x08\x01"), ""},
		{"0", frame("\x12\x03abc\x08\x01\x1d1234\x2112345678"), ""}, // fields of the future
		{"0", frame("\x08\x02"), "not serving (status 2)"},
		{"0", frame(""), "not serving (status 0)"},
		{"0", "", "not a HealthCheckResponse"},
		{"0", frame("\x08"), "not a HealthCheckResponse"},
		{"0", frame("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "not a HealthCheckResponse"},
		{"0", frame("\x0b"), "not a HealthCheckResponse"},
		{"0", frame("\x08\x01") + "x", "not a HealthCheckResponse"},
		{"0", frame(strings.Repeat("\x08\x01", mostMessage)), "not a HealthCheckResponse"},
		{"12", "", "does not implement"},
		{"14", "", "grpc-status 14"},
		{"", "", "no grpc-status"},
	} {
		server := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
			got, _ := io.ReadAll(r.Body)
			if r.ProtoMajor != 2 || r.URL.Path != grpcPath || string(got) != emptyFrame || r.Header.Get("Te") != "trailers" {
				t.Errorf("asked %s %s %q %v", r.Proto, r.URL, got, r.Header)
			}
			w.Header().Set("Content-Type", "application/grpc")
			if c.status != "" && c.status != "0" { // an answer of trailers only
				w.Header().Set("Grpc-Status", c.status)
				return
			}
			io.WriteString(w, c.body)
			w.(http.Flusher).Flush()
			if c.status != "" {
				w.Header().Set(http.TrailerPrefix+"Grpc-Status", c.status)
			}
		})
		err := Check(t.Context(), server, Options{Host: "app.test", GRPC: true})
		if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && !strings.Contains(got, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func FuzzServingStatus(f *testing.F) {
	for _, seed := range []string{frame("\x08\x01"), frame("\x12\x01a"), "", frame("\x12\xff\xff\xff\xff\x0f")} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, in []byte) { _, _ = servingStatus(in) })
}

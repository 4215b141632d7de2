package proxy_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
)

// frame is a length-prefixed message (gRPC over HTTP/2, "Length-Prefixed-
// Message"); gRPC-web sends trailers as one with the highest bit of flags set.
func frame(flags byte, message []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(message)))
	return append(b, message...)
}

func readFrame(t testing.TB, r io.Reader) (flags byte, message []byte) {
	t.Helper()
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		t.Fatalf("reading a frame: %v", err)
	}
	message = make([]byte, binary.BigEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(r, message); err != nil {
		t.Fatalf("reading a frame of %d bytes: %v", len(message), err)
	}
	return head[0], message
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return frame(0, b)
}

// gRPC's own client does not speak HTTP/3, so its frames are made by hand.
func TestGRPCOverHTTP3(t *testing.T) {
	address := grpcBackend(t, func(s *grpc.Server) {
		testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
	})
	w := start(t, over3(sites("a.test", address)))
	call := func(method string, body io.Reader) *http.Response {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "https://a.test/grpc.testing.TestService/"+method, body)
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Te", "trailers")
		req.ContentLength = -1
		res, err := w.client3("").Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/grpc" {
			t.Fatalf("%d %v", res.StatusCode, res.Header)
		}
		return res
	}

	t.Run("unary", func(t *testing.T) {
		res := call("UnaryCall", bytes.NewReader(marshal(t, &testgrpc.SimpleRequest{ResponseSize: 100_000})))
		_, message := readFrame(t, res.Body)
		var reply testgrpc.SimpleResponse
		if err := proto.Unmarshal(message, &reply); err != nil || len(reply.Payload.GetBody()) != 100_000 {
			t.Errorf("%d bytes, %v", len(reply.Payload.GetBody()), err)
		}
		if rest := body(t, res); rest != "" || res.Trailer.Get("Grpc-Status") != "0" {
			t.Errorf("%q, trailers %v", rest, res.Trailer)
		}
	})
	t.Run("status and message in the trailers", func(t *testing.T) {
		res := call("UnaryCall", bytes.NewReader(marshal(t, &testgrpc.SimpleRequest{ResponseStatus: &testgrpc.EchoStatus{Code: 2, Message: "as asked"}})))
		body(t, res)
		status, message := res.Trailer.Get("Grpc-Status"), res.Trailer.Get("Grpc-Message")
		if status == "" { // a response of trailers only has them in its head
			status, message = res.Header.Get("Grpc-Status"), res.Header.Get("Grpc-Message")
		}
		if status != "2" || message != "as asked" {
			t.Errorf("status %q, message %q", status, message)
		}
	})
	t.Run("both directions at once", func(t *testing.T) {
		from, feed := io.Pipe()
		ask := func(size int32) {
			_, _ = feed.Write(marshal(t, &testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: size}}}))
		}
		go ask(1)
		res := call("FullDuplexCall", from)
		for size := int32(1); size <= 20; size++ {
			_, message := readFrame(t, res.Body)
			var reply testgrpc.StreamingOutputCallResponse
			if err := proto.Unmarshal(message, &reply); err != nil || len(reply.Payload.GetBody()) != int(size) {
				t.Fatalf("reply %d: %d bytes, %v", size, len(reply.Payload.GetBody()), err)
			}
			if size < 20 {
				ask(size + 1) // only now: the answer before it has come
			}
		}
		_ = feed.Close()
		if rest := body(t, res); rest != "" || res.Trailer.Get("Grpc-Status") != "0" {
			t.Errorf("%q, trailers %v", rest, res.Trailer)
		}
	})
}

// webService is a server that speaks gRPC-web itself, as those that browsers
// talk to: it answers a message three times, each time that the test allows it,
// and then sends trailers in a frame. The text form is base64.
func webService(goOn <-chan struct{}) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			rw.Header().Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
			rw.WriteHeader(http.StatusNoContent)
			return
		}
		kind := r.Header.Get("Content-Type")
		send := func(b []byte) { _, _ = rw.Write(b) }
		if strings.HasSuffix(kind, "-text") {
			send = func(b []byte) { _, _ = io.WriteString(rw, base64.StdEncoding.EncodeToString(b)) }
		}
		message, _ := io.ReadAll(r.Body)
		if strings.HasSuffix(kind, "-text") {
			message, _ = base64.StdEncoding.DecodeString(string(message))
		}
		rw.Header().Set("Content-Type", kind)
		for range 3 {
			<-goOn
			send(message)
			_ = http.NewResponseController(rw).Flush()
		}
		send(frame(0x80, []byte("grpc-status: 0\r\n")))
	}
}

func TestGRPCWebStreamsMessageByMessage(t *testing.T) {
	goOn := make(chan struct{})
	w := start(t, over3(sites("a.test", backend(t, webService(goOn)))))
	clients := map[string]*http.Client{"HTTP/1.1": w.client(false), "HTTP/2": w.client(true), "HTTP/3": w.client3("")}
	for version, client := range clients {
		for _, kind := range []string{"application/grpc-web+proto", "application/grpc-web-text"} {
			t.Run(version+" "+kind, func(t *testing.T) {
				message := frame(0, bytes.Repeat([]byte("message "), 3*100)) // base64 of it needs no padding
				message = message[:len(message)-len(message)%3]
				payload := message
				if strings.HasSuffix(kind, "-text") {
					payload = []byte(base64.StdEncoding.EncodeToString(message))
				}
				req, _ := http.NewRequestWithContext(t.Context(), "POST", "https://a.test/pkg.Service/Method", bytes.NewReader(payload))
				req.Header.Set("Content-Type", kind)
				req.Header.Set("X-Grpc-Web", "1")
				answers := make(chan *http.Response, 1)
				go func() {
					res, err := client.Do(req)
					if err != nil {
						t.Error(err)
					}
					answers <- res
				}()
				goOn <- struct{}{}
				res := wait(t, answers, "the head")
				defer res.Body.Close()
				if res.StatusCode != 200 || res.Header.Get("Content-Type") != kind {
					t.Fatalf("%d %v", res.StatusCode, res.Header)
				}
				for i := range 3 {
					got := make([]byte, len(payload))
					if _, err := io.ReadFull(res.Body, got); err != nil || !bytes.Equal(got, payload) {
						t.Fatalf("message %d: %q, %v", i, got, err)
					}
					if i < 2 {
						goOn <- struct{}{} // the next is sent only after this one has arrived
					}
				}
				rest, err := io.ReadAll(res.Body)
				if strings.HasSuffix(kind, "-text") {
					rest, _ = base64.StdEncoding.DecodeString(string(rest))
				}
				if err != nil || len(rest) < 5 || rest[0] != 0x80 || string(rest[5:]) != "grpc-status: 0\r\n" {
					t.Errorf("the end is %q, %v", rest, err)
				}
			})
		}
		req, _ := http.NewRequestWithContext(t.Context(), "OPTIONS", "https://a.test/pkg.Service/Method", nil)
		req.Header.Set("Access-Control-Request-Headers", "x-grpc-web,x-user-agent")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if body(t, res); res.StatusCode != 204 || res.Header.Get("Access-Control-Allow-Headers") != "x-grpc-web,x-user-agent" {
			t.Errorf("the preflight over %s: %d %v", version, res.StatusCode, res.Header)
		}
	}
}

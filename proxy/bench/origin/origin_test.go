package origin

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// start serves until the test ends, which also shows that Serve returns.
func start(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return listener.Addr().String()
}

func client(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestDownloads(t *testing.T) {
	address, c := start(t), client(t)
	for path, want := range map[string]int{"/13b": 13, "/1k": 1024, "/100k": 102400, "/10m": 10485760} {
		res, err := c.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(res.Body)
		if err != nil || !IsBody(path, content) || res.StatusCode != 200 {
			t.Errorf("%s: %s, %d bytes, %v", path, res.Status, len(content), err)
		}
		if content[len(content)-1]++; IsBody(path, content) || IsBody(path, content[1:]) {
			t.Errorf("%s: another body passes", path)
		}
		if size, ok := Size(path); size != want || !ok {
			t.Errorf("Size(%s) = %d, %t", path, size, ok)
		}
		_ = res.Body.Close()
	}
	res, err := c.Get("http://" + address + "/nothing")
	if err != nil || res.StatusCode != 404 {
		t.Fatalf("%v, %v", res, err)
	}
	_ = res.Body.Close()
}

func TestUploadsByLengthAndInChunks(t *testing.T) {
	address, c := start(t), client(t)
	content := bytes.Repeat([]byte("x"), 100<<10)
	for name, body := range map[string]io.Reader{"length": bytes.NewReader(content), "chunks": io.MultiReader(bytes.NewReader(content))} {
		res, err := c.Post("http://"+address+UploadPath, "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(res.Body)
		if got := strings.TrimSpace(string(answer)); err != nil || got != strconv.Itoa(len(content)) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		_ = res.Body.Close()
	}
}

func TestSeenShowsTheHead(t *testing.T) {
	conn, err := net.Dial("tcp", start(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const head = "GET /seen HTTP/1.1\r\nHost: a.test\r\nX-Real-Ip: 192.0.2.1\r\n"
	_, _ = io.WriteString(conn, head+"\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != head {
		t.Errorf("%q, %v", body, err)
	}
}

func TestEchoOfEverySizeOfFrame(t *testing.T) {
	c, _, err := websocket.Dial(t.Context(), "ws://"+start(t)+WebSocketPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(largestMessage)
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 200000} {
		sent := bytes.Repeat([]byte("m"), size)
		if err := c.Write(t.Context(), websocket.MessageBinary, sent); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(t.Context()); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

package origin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Paths. Size knows the others, for downloads.
const (
	// SeenPath answers with the request's head as it arrived.
	SeenPath = "/seen"
	// UploadPath reads a body and answers with its length in decimal digits
	// and a line feed.
	UploadPath = "/upload"
	// WebSocketPath echoes messages (RFC 6455).
	WebSocketPath = "/websocket"
)

// Size returns the length of the body that a path is answered with, if it is
// one of the paths for downloads.
func Size(path string) (bytes int, ok bool) {
	switch path {
	case "/13b":
		return 13, true
	case "/1k":
		return 1 << 10, true
	case "/100k":
		return 100 << 10, true
	case "/10m":
		return 10 << 20, true
	}
	return 0, false
}

// digits is what bodies are made of. Every write begins with the first, as long
// as what is written is a multiple of their number.
const digits = "0123456789abcdef"

// server is one running origin.
type server struct {
	pattern []byte // a body is made of it

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	ended bool
}

// Serve answers requests until ctx ends, closes every connection, and returns
// nil; or returns why it can accept no more.
func Serve(ctx context.Context, listener net.Listener) error {
	s := &server{pattern: []byte(strings.Repeat(digits, 4<<10)), conns: make(map[net.Conn]struct{})}
	var served sync.WaitGroup
	defer served.Wait()
	defer s.close()
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return errors.Join(err, listener.Close())
		}
		if s.add(conn) {
			served.Go(func() { s.serve(conn) })
		}
	}
}

func (s *server) add(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		_ = conn.Close()
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for conn := range s.conns {
		_ = conn.Close()
	}
}

// serve answers the requests of one connection.
func (s *server) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	r := bufio.NewReaderSize(conn, 16<<10)
	out := make([]byte, 0, 4<<10)
	for {
		q, err := readRequest(r)
		if err != nil {
			return
		}
		if q.upgrade {
			echo(conn, r, q.key)
			return
		}
		received, err := q.discardBody(r)
		if err != nil || s.answer(conn, out, q, received) != nil || q.close {
			return
		}
	}
}

// answer writes the response in as few system calls as its size allows.
func (s *server) answer(conn net.Conn, out []byte, q *request, received int64) error {
	const head = "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: "
	size, download := Size(q.path)
	var body string
	switch {
	case download:
	case q.path == UploadPath:
		body = strconv.FormatInt(received, 10) + "\n"
	case q.path == SeenPath:
		body = q.head
	default:
		_, err := io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
		return err
	}
	if !download {
		size = len(body)
	}
	out = append(out[:0], head...)
	out = strconv.AppendInt(out, int64(size), 10)
	out = append(out, "\r\n\r\n"...)
	if !download {
		_, err := conn.Write(append(out, body...))
		return err
	}
	first := min(size, (cap(out)-len(out))/len(digits)*len(digits))
	out = append(out, s.pattern[:first]...)
	if _, err := conn.Write(out); err != nil {
		return err
	}
	for size -= first; size > 0; {
		n, err := conn.Write(s.pattern[:min(size, len(s.pattern))])
		if err != nil {
			return err
		}
		size -= n
	}
	return nil
}

// request is the part of a request that matters here.
type request struct {
	path           string
	length         int64 // of the body; -1: chunked
	close, upgrade bool
	key            string // Sec-WebSocket-Key
	head           string // everything, for SeenPath only
}

func readRequest(r *bufio.Reader) (*request, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(line))
	if len(fields) != 3 {
		return nil, errors.New("not a request line")
	}
	q := &request{path: fields[1], close: fields[2] == "HTTP/1.0"}
	var head strings.Builder
	if q.path == SeenPath {
		head.Write(line)
	}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(line) <= 2 {
			q.head = head.String()
			return q, nil
		}
		if q.path == SeenPath {
			head.Write(line)
		}
		if err := q.field(line); err != nil {
			return nil, err
		}
	}
}

// field takes note of a header line. The names that matter begin with few
// letters, so most lines cost one look.
func (q *request) field(line []byte) error {
	switch line[0] | 0x20 {
	case 'c', 't', 'u', 's':
	default:
		return nil
	}
	name, value, _ := strings.Cut(string(line), ":")
	value = strings.TrimSpace(value)
	var err error
	switch http.CanonicalHeaderKey(name) {
	case "Content-Length":
		q.length, err = strconv.ParseInt(value, 10, 64)
	case "Transfer-Encoding":
		q.length = -1
	case "Connection":
		q.close = q.close || strings.EqualFold(value, "close")
	case "Upgrade":
		q.upgrade = strings.EqualFold(value, "websocket")
	case "Sec-Websocket-Key":
		q.key = value
	}
	return err
}

// discardBody reads the request's body and returns its length.
func (q *request) discardBody(r *bufio.Reader) (int64, error) {
	if q.length >= 0 {
		return io.CopyN(io.Discard, r, q.length)
	}
	var sum int64
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return sum, err
		}
		text, _, _ := strings.Cut(strings.TrimSpace(string(line)), ";")
		size, err := strconv.ParseInt(text, 16, 64)
		if err != nil {
			return sum, err
		}
		if size == 0 {
			return sum, discardTrailers(r)
		}
		if _, err := io.CopyN(io.Discard, r, size+2); err != nil {
			return sum, err
		}
		sum += size
	}
}

func discardTrailers(r *bufio.Reader) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil || len(line) <= 2 {
			return err
		}
	}
}

// IsBody reports whether content is what a path for downloads is answered with.
func IsBody(path string, content []byte) bool {
	size, ok := Size(path)
	if !ok || len(content) != size {
		return false
	}
	for i, b := range content {
		if b != digits[i%len(digits)] {
			return false
		}
	}
	return true
}

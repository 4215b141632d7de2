package tunnel

import (
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Stream is the client's side of a tunnel that runs over one stream of HTTP/2 or
// HTTP/3. It cannot be half closed towards the client, since that takes returning
// from the handler.
type Stream struct {
	w    http.ResponseWriter
	body io.ReadCloser

	mu      sync.Mutex
	writing bool
	closed  bool // by either side of the tunnel, or because the handler is returning
}

// NewStream returns the client's side of a request whose head [FromConnect]
// has changed. The handler has to call End before it returns.
func NewStream(w http.ResponseWriter, r *http.Request) *Stream { return &Stream{w: w, body: r.Body} }

// Read implements [io.Reader].
func (s *Stream) Read(p []byte) (int, error) { return s.body.Read(p) }

// Write sends p at once.
func (s *Stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, net.ErrClosed
	}
	s.writing = true
	s.mu.Unlock()
	n, err := s.w.Write(p)
	if err == nil {
		err = http.NewResponseController(s.w).Flush()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	return n, err
}

// Close wakes up a Read and a Write that wait for the client. What was written
// before still arrives.
func (s *Stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.writing {
		_ = http.NewResponseController(s.w).SetWriteDeadline(time.Unix(1, 0))
	}
	return s.body.Close()
}

// End keeps a late Close away from the engine's objects.
func (s *Stream) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"
)

// Options says what the control socket is and what it reports.
type Options struct {
	// Socket is the path of the unix socket.
	Socket string

	// Health returns what is wrong, in words; nothing means healthy. It must
	// be quick and safe for concurrent use. Required.
	Health func() []string
}

// Server is an open control socket.
type Server struct {
	listener net.Listener
	mux      *http.ServeMux
}

// Open opens the socket, or returns an [*Error]. Nothing is answered before
// Run.
func Open(ctx context.Context, o Options) (*Server, error) {
	if o.Health == nil {
		return nil, errors.New("admin: health function is missing")
	}
	l, err := listen(ctx, o.Socket)
	if err != nil {
		return nil, err
	}
	s := &Server{listener: l, mux: http.NewServeMux()}
	s.Handle("GET /v1/health", health(o.Health))
	return s, nil
}

// Handle adds an endpoint; pattern is as [http.ServeMux] has it, beginning
// with a method and the API's version. Call it before Run.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// Run serves until ctx ends, then removes the socket and returns nil when
// requests under way have been answered (one second at most).
func (s *Server) Run(ctx context.Context) error {
	engine := &http.Server{Handler: s.mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	ended := make(chan error, 1)
	go func() { ended <- engine.Serve(s.listener) }()
	select {
	case err := <-ended:
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		return err
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if engine.Shutdown(limit) != nil {
		_ = engine.Close()
	}
	<-ended
	return nil
}

// Close closes and removes the socket: for a process that gives up before Run.
func (s *Server) Close() { _ = s.listener.Close() }

// Report is the answer of GET /v1/health.
type Report struct {
	Status  string   `json:"status"` // "ok" or "failing"
	Reasons []string `json:"reasons,omitempty"`
}

func health(check func() []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		report, status := Report{Status: "ok"}, http.StatusOK
		if reasons := check(); len(reasons) > 0 {
			report, status = Report{Status: "failing", Reasons: reasons}, http.StatusServiceUnavailable
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(report) // the client may be gone
	})
}

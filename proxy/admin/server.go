package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Options says what the control socket is and what it reports.
type Options struct {
	// Socket is the path of the unix socket.
	Socket string

	// Addresses are those of TCP listeners besides the socket, host:port each.
	// What comes there needs Token.
	Addresses []string

	// Token returns the token for the TCP listeners as it is now. Required with
	// Addresses. An error means that nobody gets in.
	Token func() (string, error)

	// Passed are sockets that were open before; those that are bound to Socket
	// or one of Addresses are taken over instead of opening the same. The caller
	// closes the files.
	Passed []*os.File

	// Health returns what is wrong, in words; nothing means healthy. It must
	// be quick and safe for concurrent use. Required.
	Health func() []string
}

// Server is an open control socket.
type Server struct {
	listener net.Listener
	tcp      []net.Listener
	token    func() (string, error)
	mux      *http.ServeMux
}

// Open opens the socket, or returns an [*Error]. Nothing is answered before
// Run.
func Open(ctx context.Context, o Options) (*Server, error) {
	if o.Health == nil {
		return nil, errors.New("admin: health function is missing")
	}
	l, err := listen(ctx, o.Socket, o.Passed)
	if err != nil {
		return nil, err
	}
	s := &Server{listener: l, token: o.Token, mux: http.NewServeMux()}
	if err := s.listenTCP(ctx, o); err != nil {
		s.Close()
		return nil, err
	}
	s.Handle("GET /v1/health", health(o.Health))
	return s, nil
}

// Handle adds an endpoint; pattern is as [http.ServeMux] has it, beginning
// with a method and the API's version. Call it before Run.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// Run serves until ctx ends, then removes the socket and returns nil when
// requests under way have been answered (one second at most).
func (s *Server) Run(ctx context.Context) error {
	serving, stop := context.WithCancel(ctx)
	defer stop() // ends what would stream for ever
	engine := func(h http.Handler) *http.Server {
		return &http.Server{
			Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
			BaseContext: func(net.Listener) context.Context { return serving },
		}
	}
	local, remote := engine(s.routed()), engine(s.guarded(s.routed()))
	var group sync.WaitGroup
	ended := make(chan error, 1+len(s.tcp))
	group.Go(func() { ended <- local.Serve(s.listener) })
	for _, l := range s.tcp {
		group.Go(func() { ended <- remote.Serve(l) })
	}
	var failure error
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			failure = err
		}
	case <-ctx.Done():
	}
	stop()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for _, each := range []*http.Server{local, remote} {
		if each.Shutdown(limit) != nil {
			_ = each.Close()
		}
	}
	group.Wait()
	return failure
}

// Close closes and removes the sockets: for a process that gives up before Run.
func (s *Server) Close() {
	_ = s.listener.Close()
	for _, l := range s.tcp {
		_ = l.Close()
	}
}

// Addrs returns the addresses of the TCP listeners.
func (s *Server) Addrs() []net.Addr {
	var list []net.Addr
	for _, l := range s.tcp {
		list = append(list, l.Addr())
	}
	return list
}

// Report is the answer of GET /v1/health.
type Report struct {
	Status  string   `json:"status"` // "ok" or "failing"
	Reasons []string `json:"reasons,omitempty"`
}

// Err is nil if all is well, and else names what is not.
func (r Report) Err() error {
	if r.Status == "ok" {
		return nil
	}
	return errors.New("not healthy: " + strings.Join(r.Reasons, "; "))
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

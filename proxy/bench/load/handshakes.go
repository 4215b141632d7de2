package load

import (
	"context"
	"crypto/tls"
	"sync/atomic"
)

// handshakes is a Session that makes a connection for each request.
type handshakes struct {
	plan    Plan
	configs []*tls.Config // one for each worker, with its sessions
}

// Handshakes makes a new connection for each request: TCP, TLS, one request,
// close. With plan.Resume each worker's first connection, made here, gives it a
// session to resume.
func Handshakes(ctx context.Context, plan Plan) (Session, error) {
	s := &handshakes{plan: plan, configs: make([]*tls.Config, plan.Connections)}
	err := parallel(ctx, plan.Connections, func(ctx context.Context, i int) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		s.configs[i] = plan.tlsConfig(i, "http/1.1")
		if plan.Resume {
			s.configs[i].ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
		_, err := s.visit(ctx, i)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// visit makes one connection and one request on it. Session tickets come after
// the handshake and are taken in while the response is read.
func (s *handshakes) visit(ctx context.Context, worker int) (resumed bool, err error) {
	c, err := s.plan.connect(ctx, worker, s.configs[worker])
	if err != nil {
		return false, err
	}
	defer func() { _ = c.conn.Close() }()
	return c.conn.ConnectionState().DidResume, c.exchange(ctx)
}

func (s *handshakes) Run(ctx context.Context) (Result, error) {
	var resumed atomic.Int64
	result, err := drive(ctx, &s.plan, len(s.configs), func(ctx context.Context, worker int) error {
		did, err := s.visit(ctx, worker)
		if did {
			resumed.Add(1)
		}
		return err
	})
	result.Resumed = int(resumed.Load())
	return result, err
}

func (s *handshakes) Close() {}

package load

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
)

// http2 is a Session of HTTP/2 connections that stay open.
type http2 struct {
	plan       Plan
	transports []*http.Transport
	conns      []*http.ClientConn
}

// HTTP2 opens the plan's connections and sends one request on each.
func HTTP2(ctx context.Context, plan Plan) (Session, error) {
	s := &http2{plan: plan, conns: make([]*http.ClientConn, plan.Connections), transports: make([]*http.Transport, plan.Connections)}
	err := parallel(ctx, plan.Connections, func(ctx context.Context, i int) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := s.connect(ctx, i); err != nil {
			return err
		}
		return s.exchange(ctx, i)
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *http2) connect(ctx context.Context, i int) error {
	var only http.Protocols
	only.SetHTTP2(true)
	s.transports[i] = &http.Transport{
		Protocols:          &only,
		TLSClientConfig:    s.plan.tlsConfig(i, "h2"),
		DisableCompression: true,
		HTTP2:              &http.HTTP2Config{MaxReceiveBufferPerConnection: 4 << 20, MaxReceiveBufferPerStream: 4<<20 - 1},
	}
	var err error
	s.conns[i], err = s.transports[i].NewClientConn(ctx, "https", s.plan.Address)
	return err
}

func (s *http2) exchange(ctx context.Context, i int) error {
	r, err := http.NewRequestWithContext(ctx, s.plan.Method, "https://"+s.plan.name(i)+s.plan.Path, nil)
	if err != nil {
		return err
	}
	if len(s.plan.Body) > 0 {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(s.plan.Body)), int64(len(s.plan.Body))
	}
	res, err := s.conns[i].RoundTrip(r)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, res.Body)
	err = errors.Join(err, res.Body.Close())
	switch {
	case err != nil:
		return err
	case res.ProtoMajor != 2:
		return errors.New("the proxy did not choose HTTP/2")
	case res.StatusCode != 200:
		return errStatus(res.StatusCode)
	case n != s.plan.Size:
		return errSize{n, s.plan.Size}
	}
	return nil
}

func (s *http2) Run(ctx context.Context) (Result, error) {
	return drive(ctx, &s.plan, len(s.conns)*max(s.plan.Streams, 1), func(ctx context.Context, worker int) error {
		i := worker % len(s.conns)
		if err := s.conns[i].Err(); err != nil {
			return err // not made anew: workers share it, and it is not meant to break
		}
		return s.exchange(ctx, i)
	})
}

func (s *http2) Close() {
	for i, transport := range s.transports {
		if s.conns[i] != nil {
			_ = s.conns[i].Close()
		}
		if transport != nil {
			transport.CloseIdleConnections()
		}
	}
}

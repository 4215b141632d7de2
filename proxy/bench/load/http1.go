package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// connection is one HTTP/1.1 connection to the proxy. It parses just enough to
// count, because what it costs is taken from the proxy.
type connection struct {
	conn    *tls.Conn
	r       *bufio.Reader
	request []byte
	size    int64
	until   time.Time // deadline that is set
}

// connect opens connection i.
func (p *Plan) connect(ctx context.Context, i int, config *tls.Config) (*connection, error) {
	conn, err := p.dial(ctx, i, config)
	if err != nil {
		return nil, err
	}
	c := &connection{conn: conn, r: bufio.NewReaderSize(conn, 4<<10), size: p.Size}
	c.request = fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n", p.Method, p.Path, p.name(i))
	if len(p.Body) > 0 {
		c.request = fmt.Appendf(c.request, "Content-Length: %d\r\n", len(p.Body))
	}
	c.request = append(append(c.request, "\r\n"...), p.Body...)
	return c, nil
}

// exchange sends the request and reads its response. After an error that is not
// an errStatus or errSize the connection is of no more use.
func (c *connection) exchange(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && deadline != c.until {
		if err := c.conn.SetDeadline(deadline); err != nil {
			return err
		}
		c.until = deadline
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	status, length, err := c.readHead()
	if err != nil {
		return err
	}
	var n int64
	if length >= 0 {
		n, err = c.discard(length)
	} else {
		n, err = c.discardChunks()
	}
	switch {
	case err != nil:
		return err
	case status != 200:
		return errStatus(status)
	case n != c.size:
		return errSize{n, c.size}
	}
	return nil
}

// readHead returns the status and the body's length, -1 if it comes in chunks.
func (c *connection) readHead() (status int, length int64, err error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	if len(line) < len("HTTP/1.1 200\r\n") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, 0, fmt.Errorf("not a status line: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, err
	}
	length = -2
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, 0, err
		}
		if len(line) <= 2 {
			break
		}
		if first := line[0] | 0x20; first != 'c' && first != 't' {
			continue
		}
		name, value, _ := strings.Cut(string(line), ":")
		switch strings.ToLower(name) {
		case "content-length":
			if length, err = strconv.ParseInt(strings.TrimSpace(value), 10, 64); err != nil {
				return 0, 0, err
			}
		case "transfer-encoding":
			length = -1
		}
	}
	if length == -2 {
		return 0, 0, errors.New("a response without a length")
	}
	return status, length, nil
}

// discard skips n bytes of the body.
func (c *connection) discard(n int64) (int64, error) {
	for left := n; left > 0; {
		skipped, err := c.r.Discard(int(min(left, 1<<20)))
		left -= int64(skipped)
		if err != nil {
			return n - left, err
		}
	}
	return n, nil
}

// discardChunks skips a chunked body and its trailers.
func (c *connection) discardChunks() (int64, error) {
	var sum int64
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return sum, err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(line)), 16, 64)
		if err != nil {
			return sum, err
		}
		if size == 0 {
			break
		}
		if _, err := c.discard(size + 2); err != nil {
			return sum, err
		}
		sum += size
	}
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil || len(line) <= 2 {
			return sum, err
		}
	}
}

// http1 is a Session of HTTP/1.1 connections that stay open.
type http1 struct {
	plan Plan

	mu    sync.Mutex    // a worker holds it to change its own element, Close to read all
	conns []*connection // an element is nil after its connection broke
}

// HTTP1 opens the plan's connections and sends one request on each, so that the
// proxy's connections to the server behind are open too.
func HTTP1(ctx context.Context, plan Plan) (Session, error) {
	s := &http1{plan: plan, conns: make([]*connection, plan.Connections)}
	err := parallel(ctx, plan.Connections, func(ctx context.Context, i int) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var err error
		if s.conns[i], err = plan.connect(ctx, i, plan.tlsConfig(i, "http/1.1")); err != nil {
			return err
		}
		return s.conns[i].exchange(ctx)
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *http1) Run(ctx context.Context) (Result, error) {
	defer context.AfterFunc(ctx, s.Close)()
	return drive(ctx, &s.plan, len(s.conns), func(ctx context.Context, worker int) error {
		c := s.conns[worker]
		if c == nil {
			var err error
			if c, err = s.plan.connect(ctx, worker, s.plan.tlsConfig(worker, "http/1.1")); err != nil {
				return err
			}
			s.replace(worker, c)
		}
		err := c.exchange(ctx)
		if err != nil && !goesOn(err) {
			_ = c.conn.Close()
			s.replace(worker, nil)
			if errors.Is(err, io.EOF) {
				return errors.New("connection closed")
			}
		}
		return err
	})
}

// goesOn reports whether a connection can be used after an error.
func goesOn(err error) bool {
	_, status := errors.AsType[errStatus](err)
	_, size := errors.AsType[errSize](err)
	return status || size
}

func (s *http1) replace(i int, c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[i] = c
}

func (s *http1) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if c != nil {
			_ = c.conn.Close()
		}
	}
}

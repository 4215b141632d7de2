package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// message is the size of a WebSocket message. Below 126, so that its length
// fits the first two bytes.
const message = 64

// socket is one open WebSocket.
type socket struct {
	c       *connection
	frame   []byte // masked, as clients must (RFC 6455 section 5.3)
	payload []byte
	reply   []byte
}

// webSockets is a Session of WebSockets.
type webSockets struct {
	plan    Plan
	sockets []*socket
	turn    []int // of each worker
}

// WebSockets opens plan.Connections WebSockets at plan.Path. In a run
// plan.Streams workers take turns on them: each sends a message of 64 bytes and
// waits until it comes back. A request of the result is one echo.
func WebSockets(ctx context.Context, plan Plan) (Session, error) {
	plan.Streams = min(max(plan.Streams, 1), plan.Connections)
	s := &webSockets{plan: plan, sockets: make([]*socket, plan.Connections), turn: make([]int, plan.Streams)}
	err := parallel(ctx, plan.Connections, func(ctx context.Context, i int) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var err error
		if s.sockets[i], err = plan.upgrade(ctx, i); err != nil {
			return err
		}
		return s.sockets[i].echo(ctx)
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// upgrade opens a connection and makes it a WebSocket.
func (p *Plan) upgrade(ctx context.Context, i int) (*socket, error) {
	conn, err := p.dial(ctx, i, p.tlsConfig(i, "http/1.1"))
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	c := &connection{conn: conn, r: bufio.NewReaderSize(conn, 1<<10)}
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		p.Path, p.name(i), base64.StdEncoding.EncodeToString(nonce))
	if err == nil {
		var res *http.Response
		if res, err = http.ReadResponse(c.r, nil); err == nil && res.StatusCode != http.StatusSwitchingProtocols {
			err = errStatus(res.StatusCode)
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	s := &socket{c: c, payload: bytes.Repeat([]byte("m"), message), reply: make([]byte, 2+message)}
	mask := nonce[:4]
	s.frame = append([]byte{0x82, 0x80 | message}, mask...)
	for i, b := range s.payload {
		s.frame = append(s.frame, b^mask[i&3])
	}
	return s, nil
}

// echo sends a message and reads it back.
func (s *socket) echo(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(patience)
	}
	if err := s.c.conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := s.c.conn.Write(s.frame); err != nil {
		return err
	}
	if _, err := io.ReadFull(s.c.r, s.reply); err != nil {
		return err
	}
	if s.reply[0] != 0x82 || s.reply[1] != message || !bytes.Equal(s.reply[2:], s.payload) {
		return errors.New("another message came back")
	}
	return nil
}

func (s *webSockets) Run(ctx context.Context) (Result, error) {
	defer context.AfterFunc(ctx, s.Close)()
	return drive(ctx, &s.plan, len(s.turn), func(ctx context.Context, worker int) error {
		i := worker + s.turn[worker]*len(s.turn)
		if i >= len(s.sockets) {
			i, s.turn[worker] = worker, 0
		}
		s.turn[worker]++
		return s.sockets[i].echo(ctx)
	})
}

func (s *webSockets) Close() {
	for _, socket := range s.sockets {
		if socket != nil {
			_ = socket.c.conn.Close()
		}
	}
}

package listen

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// newRawServerConn begins HTTP/3 on a connection and returns what serves its
// streams, and the control stream.
//
// quic-go serves whole connections, with no limit on the time that a head may
// take, or single streams, on which a deadline can be set: but then it keeps the
// control stream to itself, without which no client can be told to go (GOAWAY,
// RFC 9114 section 5.2). So its unexported function is named here, which the
// linker allows for anything but the standard library. Should a new version of
// quic-go not have it, the program does not link.
//
//go:linkname newRawServerConn github.com/quic-go/quic-go/http3.(*Server).newRawServerConn
func newRawServerConn(server *http3.Server, conn *quic.Conn) (*http3.RawServerConn, *quic.SendStream, error)

// frameGoAway is the type of a GOAWAY frame (RFC 9114 section 7.2.6).
const frameGoAway = 0x7

// streams serves the connection's streams until it is closed, and returns when
// their handlers have. Once going is done the client is told by GOAWAY that no
// further stream will be served.
func (s *session) streams(going context.Context) error {
	raw, control, err := newRawServerConn(s.server, s.quic)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		for {
			stream, err := s.quic.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			go raw.HandleUnidirectionalStream(stream) // until the connection is closed
		}
	})
	var next quic.StreamID // the first that is not served
	for {
		stream, err := s.quic.AcceptStream(going)
		if err != nil {
			if s.quic.Context().Err() == nil && going.Err() != nil {
				break
			}
			return ended(err)
		}
		next = stream.StreamID() + 4
		s.head(stream)
		running.Go(func() { raw.HandleRequestStream(stream) })
	}
	frame := quicvarint.Append(nil, uint64(next))
	frame = append(quicvarint.Append(quicvarint.Append(nil, frameGoAway), uint64(len(frame))), frame...)
	running.Go(func() { _, _ = control.Write(frame) }) // may wait for the client's flow control
	for {
		stream, err := s.quic.AcceptStream(context.Background())
		if err != nil {
			return ended(err)
		}
		stream.ReleaseStreamCredit()
		stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
		stream.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	}
}

// head bounds the time that the head of a request may take. When it is over the
// stream is reset. [session.ServeHTTP] lifts it.
func (s *session) head(stream *quic.Stream) {
	if limit := s.options.RequestHeaderTimeout; limit > 0 {
		_ = stream.SetReadDeadline(time.Now().Add(limit))
	}
}

// headRead lifts what head has set.
func headRead(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// ended turns the regular end of a connection into none.
func ended(err error) error {
	if closed, ok := errors.AsType[*quic.ApplicationError](err); ok && closed.ErrorCode == quic.ApplicationErrorCode(http3.ErrCodeNoError) {
		return nil
	}
	return err
}

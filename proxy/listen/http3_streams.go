package listen

import (
	"context"
	"errors"
	"sync"
	_ "unsafe" // for go:linkname

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	"go.uber.org/zap"
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
		stream, err := s.next(going)
		if err != nil {
			if s.quic.Context().Err() == nil && going.Err() != nil {
				break
			}
			return err
		}
		next = stream.StreamID() + 4
		a := s.begun(stream)
		running.Go(func() {
			defer s.over(a)
			raw.HandleRequestStream(stream)
		})
	}
	frame := quicvarint.Append(nil, uint64(next))
	frame = append(quicvarint.Append(quicvarint.Append(nil, frameGoAway), uint64(len(frame))), frame...)
	running.Go(func() { _, _ = control.Write(frame) }) // may wait for the client's flow control
	for {
		stream, err := s.quic.AcceptStream(context.Background())
		if err != nil {
			return err
		}
		stream.ReleaseStreamCredit()
		stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
		stream.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	}
}

// next returns the next stream, once there is room for another head. A client
// that sends its heads slowly makes only its own wait.
func (s *session) next(going context.Context) (*quic.Stream, error) {
	select {
	case s.heads <- struct{}{}:
	case <-going.Done():
		return nil, going.Err()
	case <-s.quic.Context().Done():
		return nil, context.Cause(s.quic.Context())
	}
	stream, err := s.quic.AcceptStream(going)
	if err != nil {
		<-s.heads
	}
	return stream, err
}

// ended tells how the connection has ended, if that is worth it, and counts what
// the client did wrong.
func (s *session) ended(err error) {
	code, why, ours := "", "", false
	if closed, is := errors.AsType[*quic.ApplicationError](err); is {
		if closed.ErrorCode == quic.ApplicationErrorCode(http3.ErrCodeNoError) {
			return
		}
		code, why, ours = http3.ErrCode(closed.ErrorCode).String(), closed.ErrorMessage, !closed.Remote && closed.ErrorCode != quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad)
	} else if broken, is := errors.AsType[*quic.TransportError](err); is {
		code, why, ours = broken.ErrorCode.String(), broken.ErrorMessage, !broken.Remote
	} else if err != nil {
		why = err.Error()
	}
	if ours {
		s.engine.conns.counters.refused.add(h3Protocol)
	}
	s.engine.logger.Debug("HTTP/3 connection ended", zap.Stringer("client", s.quic.RemoteAddr()), zap.String("code", code), zap.String("reason", why))
}

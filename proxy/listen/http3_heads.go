package listen

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/http3/qlog"
	"github.com/quic-go/quic-go/qlogwriter"
	"go.uber.org/zap"
)

// mostHeads3 bounds the heads of a connection, in bytes: the sum of those under
// way, and apart from that of those that are coming in. HTTP/2's engine has the
// same bound.
const mostHeads3 = 1 << 20

// trace is how quic-go tells what it reads. Its request has no scheme, has one
// Content-Length where there were two, and does not say where a DATA frame ends,
// so what has to be known about that is taken from the events that it makes for
// qlog. Those of QUIC itself, one for each packet, are not asked for: at the
// time that quic-go asks for a recorder of them there is no session.
type trace struct{ session *session }

// AddProducer implements [qlogwriter.Trace].
func (t *trace) AddProducer() qlogwriter.Recorder {
	if t.session == nil {
		return nil
	}
	return t.session
}

// request3 is the stream of a request, as far as it has come.
type request3 struct {
	stream *quic.Stream
	began  time.Time
	head   bool   // its fields are known
	served bool   // it has got to ServeHTTP
	wrong  string // with it
	taken  bool   // the client has taken back its content
	size   int    // of the fields, as HTTP/2 and HTTP/3 count it
	read   uint64 // of the content
	framed uint64 // of the content, by the DATA frames that have begun
}

// Close implements [qlogwriter.Recorder].
func (s *session) Close() error { return nil }

// RecordEvent implements [qlogwriter.Recorder]. It is called by who reads the
// stream, before what is read is acted on.
func (s *session) RecordEvent(e qlogwriter.Event) {
	frame, ok := e.(qlog.FrameParsed)
	if !ok {
		return
	}
	s.mu.Lock()
	a := s.asked[frame.StreamID]
	s.mu.Unlock()
	if a == nil {
		return
	}
	switch f := frame.Frame.Frame.(type) {
	case qlog.DataFrame:
		a.framed += uint64(frame.Raw.PayloadLength)
	case qlog.HeadersFrame:
		if !a.head {
			a.head = true
			a.fields(f.HeaderFields)
		}
	case qlog.CancelPushFrame, qlog.PushPromiseFrame, qlog.MaxPushIDFrame:
		// RFC 9114 sections 7.2.3, 7.2.5 and 7.2.7; quic-go skips them.
		a.wrong = "frame that does not belong on a request's stream"
		s.broken(http3.ErrCodeFrameUnexpected, a.wrong)
	}
}

// broken ends the connection for what the client did.
func (s *session) broken(code http3.ErrCode, why string) {
	_ = s.quic.CloseWithError(quic.ApplicationErrorCode(code), why)
}

// fields looks at what the request that quic-go makes of a head does not show.
func (a *request3) fields(list []qlog.HeaderField) {
	schemes, lengths, connect, tunnel := 0, 0, false, true
	for _, f := range list {
		a.size += len(f.Name) + len(f.Value) + 32 // RFC 9114 section 4.2.2
		switch f.Name {
		case ":scheme":
			schemes++
			if f.Value != "https" && f.Value != "http" {
				a.wrong = "scheme that is not served"
			}
		case ":method":
			connect = f.Value == http.MethodConnect
		case ":protocol":
			tunnel = false
		case "content-length":
			if lengths++; lengths > 1 || f.Value == "" {
				a.wrong = "Content-Length that is not one number"
			}
		}
		if f.InvalidName || f.InvalidValue {
			a.wrong = "field with a character that does not belong there"
		}
	}
	if plain := connect && tunnel; a.wrong == "" && !plain && schemes != 1 {
		a.wrong = "no scheme, or two" // RFC 9114 section 4.3.1
	}
}

// begun notes that a stream is served from now on, and bounds the time that its
// head may take. When it is over the stream is reset. [session.ServeHTTP] lifts
// it.
func (s *session) begun(stream *quic.Stream) *request3 {
	a := &request3{stream: stream, began: time.Now()}
	if limit := s.options.RequestHeaderTimeout; limit > 0 {
		_ = stream.SetReadDeadline(a.began.Add(limit))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[stream.StreamID()] = a
	return a
}

// headRead returns what is known of a request's stream, and lifts what begun has
// set.
func (s *session) headRead(w http.ResponseWriter, r *http.Request) *request3 {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.asked[r.Body.(interface{ StreamID() quic.StreamID }).StreamID()]
	a.served = true
	<-s.heads
	return a
}

// over notes that a stream is not served any more. If quic-go has refused the
// request by itself, that is told.
func (s *session) over(a *request3) {
	s.mu.Lock()
	delete(s.asked, a.stream.StreamID())
	s.mu.Unlock()
	if a.served {
		return
	}
	<-s.heads
	if s.quic.Context().Err() != nil {
		return // that is told for the connection
	}
	reset, is := errors.AsType[*quic.StreamError](context.Cause(a.stream.Context()))
	switch {
	case !is:
		s.refuse(h3TooLarge, http.StatusRequestHeaderFieldsTooLarge, "head too large")
	case reset.Remote:
		s.mu.Lock()
		calm := s.takeBack()
		s.mu.Unlock()
		if !calm {
			s.flood()
		}
	case http3.ErrCode(reset.ErrorCode) == http3.ErrCodeRequestIncomplete:
		if limit := s.options.RequestHeaderTimeout; limit > 0 && time.Since(a.began) >= limit {
			s.refuse(h3Timeout, 0, "head took too long")
		}
	default:
		why := a.wrong
		if why == "" {
			why = http3.ErrCode(reset.ErrorCode).String()
		}
		s.refuse(h3Malformed, 0, why)
	}
}

// refuse counts and tells what no handler gets to see; a status of 0 is a reset.
func (s *session) refuse(as kind, status int, why string) {
	s.engine.conns.counters.refused.add(as)
	s.engine.logger.Debug("HTTP/3 request refused", zap.Stringer("client", s.quic.RemoteAddr()), zap.Int("status", status), zap.String("reason", why))
}

// Requests that a client takes back before they are answered cost the server
// behind. As many as streams are allowed may be, at least leastBack, and
// backRate a second more; each answered request earns one. HTTP/2's engine
// counts alike.
const (
	leastBack = 32
	backRate  = 5
)

func (s *session) mostBack() float64 { return float64(max(s.most/2, leastBack)) }

// reset reports whether the client does not want the answer any more.
func (a *request3) reset() bool {
	reset, is := errors.AsType[*quic.StreamError](context.Cause(a.stream.Context()))
	return is && reset.Remote
}

// takeBack pays for a request that was taken back, and reports whether the
// client could. With the lock held.
func (s *session) takeBack() bool {
	now := time.Now()
	s.budget = min(s.budget+backRate*now.Sub(s.earned).Seconds(), s.mostBack()) - 1
	s.earned = now
	return s.budget >= 0
}

// flood ends the connection of a client that asks for more than it takes.
func (s *session) flood() {
	s.once.Do(func() {
		s.engine.conns.counters.refused.add(h3Flood)
		s.broken(http3.ErrCodeExcessiveLoad, "too many requests at once, or taken back")
	})
}

// reject resets a stream whose request no handler has seen: the client may send
// it again (RFC 9114 section 4.1.1).
func (a *request3) reject() {
	a.stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
	a.stream.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected))
}

// strictBody is a body that is whole or ends with an error.
type strictBody struct {
	io.ReadCloser
	session *session
	asked   *request3
	told    bool
}

// Read gives nothing along with an error but [io.EOF]: the last bytes of a body
// that is longer than it should be would make it a whole one for the server
// behind.
func (b *strictBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.asked.read += uint64(n)
	if err == io.EOF && b.asked.read != b.asked.framed {
		err = io.ErrUnexpectedEOF // RFC 9114 section 7.1
	}
	if err == nil || err == io.EOF {
		return n, err
	}
	b.tell(err)
	return 0, err
}

// tell counts what the client did wrong, and not that it went away.
func (b *strictBody) tell(err error) {
	if b.told || b.session.quic.Context().Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	if reset, is := errors.AsType[*http3.Error](err); is {
		b.asked.taken = b.asked.taken || reset.Remote
		return
	}
	b.told = true
	b.session.refuse(h3Malformed, 0, "content: "+strings.TrimPrefix(err.Error(), "http3: "))
}

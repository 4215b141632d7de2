package tunnel

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// halfClosedLimit is how long one direction of an upgraded connection may be
	// silent after the other has ended. A client that vanished looks the same as
	// one that has said all it wanted.
	halfClosedLimit = 5 * time.Minute

	// partingLimit is how long an upgraded connection that we end may take: to
	// come to the end of a frame, to take our close frame and to answer it.
	partingLimit = time.Second

	// pieceSize is how much is carried at a time, in each direction.
	pieceSize = 32 << 10
)

// Options is what a Tunnel needs besides its two ends.
type Options struct {
	// Silence is how long nothing may move in either direction before the
	// tunnel is ended; 0 is no limit.
	Silence time.Duration

	// WebSocket says that both ends speak RFC 6455, so that they can be told of
	// an end that is ours.
	WebSocket bool
}

// Tunnel is an upgraded connection.
type Tunnel struct {
	set    *Set
	client io.ReadWriteCloser
	server io.ReadWriteCloser
	up     direction // to the server
	down   direction // to the client
	framed bool      // it is a WebSocket

	limit time.Duration // of silence in both directions; 0 is none
	moved atomic.Int64  // when something moved last, in nanoseconds since epoch
	epoch time.Time

	mu      sync.Mutex
	silence *time.Timer // looks after the limit
	begun   bool
	leaving bool
	ended   bool
	leave   *time.Timer    // runs while leaving
	words   sync.WaitGroup // of those that say so
}

// Copy runs both directions and returns when both have ended. ahead is what was
// read from the client already; it may be nil. Call it at most once.
func (t *Tunnel) Copy(ahead []byte) {
	t.mu.Lock()
	t.begun = true
	t.mu.Unlock()
	t.epoch = time.Now()
	t.watch(t.limit)
	var up sync.WaitGroup
	up.Go(func() {
		if len(ahead) > 0 {
			if err := t.up.write(ahead); err != nil {
				t.close()
				return
			}
		}
		t.pipe(&t.up, t.client)
	})
	t.pipe(&t.down, t.server)
	up.Wait()
	t.mu.Lock()
	t.ended = true
	if t.silence != nil {
		t.silence.Stop()
	}
	t.mu.Unlock()
	t.words.Wait()
	if t.leave != nil { // not set any more once it has ended
		t.leave.Stop()
	}
}

// pipe copies one direction. When the sender is done the receiver is told so
// and the other direction goes on; when anything breaks, or the receiver cannot
// be told, both end.
func (t *Tunnel) pipe(to *direction, from io.Reader) {
	buffer := t.set.buffer()
	defer t.set.buffers.Put(buffer)
	for {
		n, readErr := from.Read(buffer[:])
		if n > 0 {
			if err := to.write(buffer[:n]); err != nil {
				t.close()
				return
			}
			t.moved.Store(int64(time.Since(t.epoch)))
		}
		if readErr == nil {
			continue
		}
		if !to.finish(readErr) {
			t.close()
			return
		}
		t.halfClosed()
		return
	}
}

// halfClosed tightens the limit.
func (t *Tunnel) halfClosed() {
	t.moved.Store(int64(time.Since(t.epoch)))
	t.mu.Lock()
	loose := t.limit == 0 || t.limit > halfClosedLimit
	t.mu.Unlock()
	if loose {
		t.watch(halfClosedLimit)
	}
}

// watch starts to wait for a silence of limit, in place of what was waited for
// before. One timer looks now and then how long it has been silent: setting it
// anew with each piece would cost more than the piece.
func (t *Tunnel) watch(limit time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if limit <= 0 || t.ended {
		return
	}
	if t.silence != nil {
		t.silence.Stop()
	}
	t.limit = limit
	t.silence = time.AfterFunc(limit, t.look)
}

// look ends a tunnel that has been silent for too long.
func (t *Tunnel) look() {
	t.mu.Lock()
	left := t.limit - (time.Since(t.epoch) - time.Duration(t.moved.Load()))
	over := left <= 0 && !t.ended
	if left > 0 && !t.ended {
		t.silence.Reset(left)
	}
	t.mu.Unlock()
	if over {
		t.part()
	}
}

// part ends a tunnel. Both ends of a WebSocket get a close frame first, as soon
// as that is possible within partingLimit; what else they send is not passed on
// any more. It does not wait.
func (t *Tunnel) part() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.ended || t.leaving:
	case !t.begun || !t.framed:
		// Closing a TLS connection may wait seconds for a peer that does not
		// read; neither a reload nor the next tunnel shall.
		go t.close()
	default:
		t.leaving = true
		t.leave = time.AfterFunc(partingLimit, t.close)
		t.words.Go(t.up.part)
		t.words.Go(t.down.part)
	}
}

// close ends both sides; whoever copies between them notices.
func (t *Tunnel) close() {
	_ = t.client.Close()
	_ = t.server.Close()
}

package h2

import (
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// body is a request's content: what came and is not read yet. The connection's
// windows bound how much that is.
type body struct {
	stream *stream

	mu       sync.Mutex
	changed  *sync.Cond // made by the first read that waits
	chunks   []*chunk   // with something to read in each
	at       int        // where to read in the first
	err      error      // after the chunks: io.EOF, or why there is no more
	closed   bool       // nobody reads any more
	deadline time.Time
	began    bool // somebody has read
}

// Sizes of chunks. A client that sends little at a time must not take a large
// one each time.
const (
	smallChunk = 1 << 10
	largeChunk = 16 << 10
)

type chunk struct {
	data []byte
	used int // written
}

func (p *pools) chunk(n int) *chunk {
	if n <= smallChunk {
		return p.small.Get().(*chunk)
	}
	return p.large.Get().(*chunk)
}

func (p *pools) free(k *chunk) {
	k.used = 0
	if len(k.data) == smallChunk {
		p.small.Put(k)
	} else {
		p.large.Put(k)
	}
}

// fill reads n bytes, no more than a frame has, from the connection. It returns
// how many of them somebody may still read. Only the connection's reading
// goroutine calls it.
func (b *body) fill(n int) (int, error) {
	if n == 0 {
		return 0, nil
	}
	pools := &b.stream.conn.server.pools
	k := pools.chunk(n)
	if err := b.stream.conn.readFull(k.data[:n], false); err != nil {
		pools.free(k)
		return 0, err
	}
	k.used = n
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		pools.free(k)
		return 0, nil
	}
	if last := len(b.chunks) - 1; last >= 0 && len(b.chunks[last].data)-b.chunks[last].used >= n {
		// Else a byte at a time would take a chunk each.
		b.chunks[last].used += copy(b.chunks[last].data[b.chunks[last].used:], k.data[:n])
		pools.free(k)
	} else {
		b.chunks = append(b.chunks, k)
	}
	b.wake()
	return n, nil
}

// end tells the reader that there is no more: io.EOF, or nil for the same with
// trailers, or why.
func (b *body) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		err = errTrailers
	}
	if b.err == nil {
		b.err = err
		b.wake()
	}
}

// abort makes reading fail after what is there, unless the body is whole.
func (b *body) abort(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == io.EOF || b.err == errTrailers {
		return // it is whole
	}
	b.err = err
	b.wake()
}

// wake wakes up readers. With the lock held.
func (b *body) wake() {
	if b.changed != nil {
		b.changed.Broadcast()
	}
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	n, first, err := b.take(p)
	if first && b.stream.expect {
		b.stream.response.proceed()
	}
	if n == 0 && err == nil && len(p) > 0 {
		n, err = b.await(p)
	}
	if n > 0 {
		b.stream.conn.giveBack(b.stream, n)
	}
	return n, err
}

// take reads what is there.
func (b *body) take(p []byte) (n int, first bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first = !b.began && b.err == nil
	b.began = true
	n, err = b.copy(p)
	return n, first, err
}

// copy reads with the lock held.
func (b *body) copy(p []byte) (int, error) {
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	if !b.deadline.IsZero() && !time.Now().Before(b.deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	n := 0
	for len(b.chunks) > 0 && n < len(p) {
		k := b.chunks[0]
		part := copy(p[n:], k.data[b.at:k.used])
		n += part
		if b.at += part; b.at == k.used {
			b.stream.conn.server.pools.free(k)
			b.chunks[0] = nil
			b.chunks = b.chunks[1:]
			b.at = 0
		}
	}
	if len(b.chunks) > 0 || b.err == nil {
		return n, nil
	}
	if b.err == errTrailers {
		b.stream.handOver()
		b.err = io.EOF
	}
	if n > 0 && b.err != io.EOF {
		return n, nil
	}
	return n, b.err
}

// await waits until there is something to read.
func (b *body) await(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = sync.NewCond(&b.mu)
	}
	for {
		n, err := b.copy(p)
		if n > 0 || err != nil {
			return n, err
		}
		var timer *time.Timer
		if !b.deadline.IsZero() {
			timer = time.AfterFunc(time.Until(b.deadline), b.expired)
		}
		b.changed.Wait()
		if timer != nil {
			timer.Stop()
		}
	}
}

func (b *body) expired() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake()
}

// setDeadline makes reading fail from t on; the zero time is never. Data that
// comes meanwhile is kept.
func (b *body) setDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	b.wake()
}

// Close implements [io.Closer]: reading fails from now on.
func (b *body) Close() error {
	b.mu.Lock()
	left := -b.at
	for _, k := range b.chunks {
		left += k.used
		b.stream.conn.server.pools.free(k)
	}
	b.chunks, b.at = nil, 0
	b.closed = true
	b.wake()
	b.mu.Unlock()
	if left > 0 {
		b.stream.conn.giveBack(nil, left)
	}
	return nil
}

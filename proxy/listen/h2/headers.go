package h2

import (
	"encoding/binary"
	"net/http"
	"time"
)

// headers reads a field section and begins, or ends, a stream with it (RFC 9113
// section 6.2).
func (c *conn) headers(h frameHead, payload []byte) error {
	if h.stream%2 == 0 {
		return broken(codeProtocol, "HEADERS on no stream of a client")
	}
	fragment, err := unpad(h, payload)
	if err != nil {
		return err
	}
	itself := false
	if h.has(flagPriority) {
		if len(fragment) < 5 {
			return broken(codeFrameSize, "HEADERS too short for its priority")
		}
		itself = binary.BigEndian.Uint32(fragment)&mostWindow == h.stream
		fragment = fragment[5:]
	}
	c.block.begin()
	if err := c.decode(h, fragment); err != nil {
		return err
	}
	if itself {
		c.block.bad = "stream that depends on itself" // RFC 9113 section 5.3.1 of RFC 7540
	}
	c.mu.Lock()
	defer c.unlockAndFlush()
	c.calm.earn(idleEarned)
	s, open := c.streams[h.stream]
	switch {
	case open:
		return c.trailers(s, h)
	case h.stream > c.highest:
		c.highest = h.stream
		return c.open(h)
	case c.remembered(h.stream):
		return c.idle(1) // trailers on the way when we reset the stream
	}
	return broken(codeStreamClosed, "HEADERS on a closed stream")
}

// decode feeds the field section to the decoder, whatever becomes of the
// stream: its state is the connection's. CONTINUATION frames are read here, with
// a limit on their number, their sum and the time they take (CVE-2024-27316).
func (c *conn) decode(h frameHead, fragment []byte) error {
	if _, err := c.decoder.Write(fragment); err != nil {
		return broken(codeCompression, "field section that cannot be decompressed")
	}
	if !h.has(flagEndHeaders) {
		if err := c.continuations(h.stream, len(fragment)); err != nil {
			return err
		}
	}
	if err := c.decoder.Close(); err != nil {
		return broken(codeCompression, "field section that ends in the middle")
	}
	return nil
}

func (c *conn) continuations(stream uint32, sum int) error {
	o := &c.server.options
	c.limitRead(time.Now().Add(o.HeaderTimeout))
	for last := false; !last; {
		h, err := c.readHead(false)
		if err != nil {
			return err
		}
		if h.kind != frameContinuation || h.stream != stream {
			return broken(codeProtocol, "a frame that is not CONTINUATION in the middle of a field section")
		}
		if sum += h.length; sum > 2*o.HeaderBytes {
			return broken(codeCalm, "field section too large")
		}
		payload, big, err := c.payload(h.length)
		if err == nil {
			if _, wrong := c.decoder.Write(payload); wrong != nil {
				err = broken(codeCompression, "field section that cannot be decompressed")
			}
		}
		if big != nil {
			c.server.pools.frames.Put(big)
		}
		if err != nil {
			return err
		}
		last = h.has(flagEndHeaders)
		cost := 2
		if h.length < smallFrame && !last {
			cost = 20
		}
		c.mu.Lock()
		err = c.idle(cost)
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
	c.limitRead(time.Time{})
	return nil
}

// open begins a stream with the request in c.block. With the lock held.
func (c *conn) open(h frameHead) error {
	b := &c.block
	ended := h.has(flagEndStream)
	if c.ending || c.dead {
		c.remember(h.stream)
		return nil // GOAWAY told the client that it is not served
	}
	if b.bad == "" && !b.large {
		var status int
		if b.bad, status = b.request(ended); status != 0 {
			return c.refuse(h, status)
		}
	}
	switch {
	case b.bad != "":
		c.server.options.Logger.Debug("malformed HTTP/2 request", why(c, 0, b.bad)...)
		return c.resetFor(nil, h.stream, codeProtocol)
	case b.large:
		return c.refuse(h, http.StatusRequestHeaderFieldsTooLarge)
	case c.running >= c.server.options.Streams, c.running > 0 && c.heads+b.size > mostHeads:
		// Those count that the client has taken back and whose handlers have
		// not returned yet, so this may be the client's fault or not; it can
		// send the request again.
		c.server.options.Logger.Debug("HTTP/2 request refused", why(c, 0, "too many at once")...)
		c.server.options.Refused(TooManyStreams)
		c.out = appendReset(c.out, h.stream, codeRefused)
		c.remember(h.stream)
		return c.reset(1)
	}
	c.last = h.stream
	s := newStream(c, h.stream, b, ended)
	if c.streams == nil {
		c.streams = make(map[uint32]*stream)
	}
	s.head = b.size
	c.heads += b.size
	c.streams[h.stream] = s
	c.running++
	if c.running == 1 {
		c.take()
		c.server.options.State(c.nc, http.StateActive)
	}
	s.late = c.resets.spent() > suspicious
	c.employ(s)
	return nil
}

// refuse answers a request that no handler gets to see. With the lock held.
func (c *conn) refuse(h frameHead, status int) error {
	c.server.options.Logger.Debug("HTTP/2 request refused", why(c, status, http.StatusText(status))...)
	if status == http.StatusRequestURITooLong || status == http.StatusRequestHeaderFieldsTooLarge {
		c.server.options.Refused(TooLarge)
	} else {
		c.server.options.Refused(Malformed)
	}
	c.encode(":status", statusText(status))
	c.encode("content-length", "0")
	c.encode("date", c.server.now())
	c.endHeaders(h.stream, true)
	if !h.has(flagEndStream) {
		c.out = appendReset(c.out, h.stream, codeNone)
		c.remember(h.stream)
	}
	return c.idle(10)
}

// trailers ends a request's body (RFC 9113 section 8.1). With the lock held.
func (c *conn) trailers(s *stream, h frameHead) error {
	b := &c.block
	switch {
	case s.byClient:
		return broken(codeStreamClosed, "HEADERS on a closed stream")
	case s.reset:
		return nil // on the way when we reset it
	case s.remoteClosed:
		return c.streamError(s, h.stream, codeStreamClosed, "HEADERS after the end")
	case b.large:
		return c.streamError(s, h.stream, codeCalm, "trailers too large")
	case b.bad != "", b.seen&^sawHost != 0, !h.has(flagEndStream), s.declared >= 0 && s.declared != s.arrived:
		return c.streamError(s, h.stream, codeProtocol, "malformed trailers, or content of another length than it said")
	}
	s.remoteClosed = true
	for _, f := range b.fields {
		name := b.names.header(f.Name)
		if _, announced := s.trailer[name]; announced && trailing(f.Name) {
			if s.trailers == nil {
				s.trailers = make(http.Header, len(b.fields))
			}
			s.trailers[name] = append(s.trailers[name], f.Value)
		}
	}
	s.body.end(nil)
	return nil
}

package h2

import (
	"encoding/binary"
	"io"

	"go.uber.org/zap"
)

// process handles every frame but DATA.
func (c *conn) process(h frameHead, payload []byte) error {
	c.pings.frames.Add(1)
	switch h.kind {
	case frameHeaders:
		return c.headers(h, payload)
	case frameContinuation:
		return broken(codeProtocol, "CONTINUATION without HEADERS")
	case framePushPromise:
		return broken(codeProtocol, "PUSH_PROMISE from a client")
	}
	c.mu.Lock()
	err := c.control(h, payload)
	flush := c.kick()
	c.mu.Unlock()
	if flush {
		c.flushLater()
	}
	return err
}

// control handles frames that carry no request, with the lock held.
func (c *conn) control(h frameHead, payload []byte) error {
	if len(c.out) > outLimit+mostPendingFrames {
		return broken(codeCalm, "answers to SETTINGS and PING are not read")
	}
	switch h.kind {
	case frameSettings:
		return c.settings(h, payload)
	case framePing:
		return c.ping(h, payload)
	case frameWindowUpdate:
		return c.windowUpdate(h, payload)
	case frameReset:
		return c.resetByClient(h, payload)
	case framePriority:
		return c.priority(h, payload)
	case frameGoAway:
		if h.stream != 0 {
			return broken(codeProtocol, "GOAWAY on a stream")
		}
		if len(payload) < 8 {
			return broken(codeFrameSize, "GOAWAY of a wrong length")
		}
	}
	return c.idle(1) // of a type that is unknown: ignored (RFC 9113 section 4.1)
}

// settings: RFC 9113 section 6.5.
func (c *conn) settings(h frameHead, payload []byte) error {
	switch {
	case h.stream != 0:
		return broken(codeProtocol, "SETTINGS on a stream")
	case h.has(flagAck) && len(payload) > 0, len(payload)%6 != 0:
		return broken(codeFrameSize, "SETTINGS of a wrong length")
	case h.has(flagAck):
		return c.idle(1)
	}
	for ; len(payload) > 0; payload = payload[6:] {
		if err := c.setting(binary.BigEndian.Uint16(payload), binary.BigEndian.Uint32(payload[2:])); err != nil {
			return err
		}
	}
	c.out = appendHead(c.out, 0, frameSettings, flagAck, 0)
	return c.idle(settingsCost)
}

func (c *conn) setting(id uint16, value uint32) error {
	switch id {
	case settingHeaderTableSize:
		c.tableSize(value)
	case settingEnablePush:
		if value > 1 {
			return broken(codeProtocol, "ENABLE_PUSH is neither 0 nor 1")
		}
	case settingInitialWindow:
		if value > mostWindow {
			return broken(codeFlowControl, "initial window too large")
		}
		by := int64(value) - c.initialWindow
		c.initialWindow = int64(value)
		for _, s := range c.streams {
			if s.window += by; s.window > mostWindow {
				return broken(codeFlowControl, "window too large")
			}
		}
		c.wakeAll()
	case settingMaxFrameSize:
		// Ours stay at the least that every peer takes.
		if value < frameSize || value > 1<<24-1 {
			return broken(codeProtocol, "MAX_FRAME_SIZE out of range")
		}
	case settingEnableConnect:
		if value > 1 {
			return broken(codeProtocol, "ENABLE_CONNECT_PROTOCOL is neither 0 nor 1")
		}
	}
	return nil
}

// ping: RFC 9113 section 6.7.
func (c *conn) ping(h frameHead, payload []byte) error {
	switch {
	case h.stream != 0:
		return broken(codeProtocol, "PING on a stream")
	case len(payload) != 8:
		return broken(codeFrameSize, "PING of a wrong length")
	case h.has(flagAck):
		if c.drained && !c.ending {
			c.finalGoAway()
		}
		return c.idle(1)
	}
	c.out = appendPing(c.out, flagAck, payload)
	return c.idle(1)
}

// windowUpdate: RFC 9113 section 6.9.
func (c *conn) windowUpdate(h frameHead, payload []byte) error {
	if len(payload) != 4 {
		return broken(codeFrameSize, "WINDOW_UPDATE of a wrong length")
	}
	by := int64(binary.BigEndian.Uint32(payload) & mostWindow)
	if h.stream == 0 {
		if by == 0 {
			return broken(codeProtocol, "WINDOW_UPDATE by nothing")
		}
		if c.window += by; c.window > mostWindow {
			return broken(codeFlowControl, "window too large")
		}
		c.wakeAll()
		return c.update()
	}
	s, open := c.streams[h.stream]
	switch {
	case h.stream > c.highest:
		return broken(codeProtocol, "WINDOW_UPDATE on an idle stream")
	case !open || s.ended():
	case by == 0:
		return c.streamError(s, h.stream, codeProtocol, "WINDOW_UPDATE of nothing")
	default:
		if s.window += by; s.window > mostWindow {
			return c.streamError(s, h.stream, codeFlowControl, "window too large")
		}
		s.wakeUp()
	}
	return c.update()
}

// update spends what a WINDOW_UPDATE costs.
func (c *conn) update() error {
	if c.owed > 0 {
		c.owed--
		return nil
	}
	return c.idle(1)
}

// resetByClient: RFC 9113 section 6.4.
func (c *conn) resetByClient(h frameHead, payload []byte) error {
	switch {
	case h.stream == 0 || h.stream > c.highest:
		return broken(codeProtocol, "RST_STREAM on an idle stream")
	case len(payload) != 4:
		return broken(codeFrameSize, "RST_STREAM of a wrong length")
	}
	s, open := c.streams[h.stream]
	if !open || s.ended() {
		return c.idle(1)
	}
	s.reset, s.byClient = true, true
	s.cancel(errReset)
	return c.reset(1)
}

// priority: RFC 9113 section 6.3. What it says is deprecated and ignored.
func (c *conn) priority(h frameHead, payload []byte) error {
	if h.stream == 0 {
		return broken(codeProtocol, "PRIORITY on no stream")
	}
	if len(payload) != 5 {
		return c.priorityError(h, codeFrameSize)
	}
	if binary.BigEndian.Uint32(payload)&mostWindow == h.stream {
		return c.priorityError(h, codeProtocol)
	}
	return c.idle(1)
}

// priorityError is a stream error, which RFC 9113 section 5.4.2 does not allow
// to answer on a stream that is idle.
func (c *conn) priorityError(h frameHead, why code) error {
	if h.stream > c.highest {
		return broken(why, "PRIORITY that is wrong")
	}
	return c.streamError(c.streams[h.stream], h.stream, why, "PRIORITY that is wrong")
}

// streamError resets a stream for what the client did (RFC 9113 section 5.4.2);
// s is nil if it is not open. With the lock held.
func (c *conn) streamError(s *stream, id uint32, why code, reason string) error {
	c.server.options.Logger.Debug("HTTP/2 stream reset", zap.String("client", c.client), zap.Int("status", 0), zap.Uint32("code", uint32(why)), zap.String("reason", reason))
	return c.resetFor(s, id, why)
}

// resetFor is streamError for what has been logged.
func (c *conn) resetFor(s *stream, id uint32, why code) error {
	c.server.options.Refused(Malformed)
	c.out = appendReset(c.out, id, why)
	c.remember(id)
	if s == nil || s.ended() {
		return c.idle(10)
	}
	s.reset = true
	s.cancel(errMalformed)
	return c.reset(provoked)
}

// data: RFC 9113 section 6.1.
func (c *conn) data(h frameHead) error {
	c.pings.frames.Add(1)
	if h.stream == 0 {
		return broken(codeProtocol, "DATA on no stream")
	}
	length := h.length // without padding
	padding := 0
	if h.has(flagPadded) {
		if length == 0 {
			return broken(codeFrameSize, "padded frame without a length of padding")
		}
		if err := c.readFull(c.small[:1], false); err != nil {
			return err
		}
		length--
		if padding = int(c.small[0]); padding > length {
			return broken(codeProtocol, "more padding than frame")
		}
		length -= padding
	}
	s, err := c.admitData(h, length)
	if err != nil {
		return err
	}
	if s == nil {
		if err := c.discard(length + padding); err != nil {
			return err
		}
		c.giveBack(nil, h.length)
		return nil
	}
	taken, err := s.body.fill(length)
	if err == nil {
		err = c.discard(padding)
	}
	if err != nil {
		return err
	}
	if h.has(flagEndStream) {
		s.body.end(io.EOF)
	}
	if h.length > taken {
		c.giveBack(s, h.length-taken) // padding, or nobody wants the body any more
	}
	return nil
}

// admitData accounts for a DATA frame and returns the stream whose body it is
// part of, nil if it is to be thrown away.
func (c *conn) admitData(h frameHead, length int) (*stream, error) {
	c.mu.Lock()
	defer c.unlockAndFlush()
	if h.stream > c.highest {
		return nil, broken(codeProtocol, "DATA on an idle stream")
	}
	if c.received += h.length; c.received > connWindow {
		return nil, broken(codeFlowControl, "more DATA than the connection's window allows")
	}
	if length > 0 {
		c.calm.earn(idleEarned)
	} else if err := c.idle(1); err != nil {
		return nil, err
	}
	s, open := c.streams[h.stream]
	switch {
	case !open || s.reset:
		if c.remembered(h.stream) || open && !s.byClient {
			return nil, nil // it was on the way when we reset the stream
		}
		return nil, c.streamError(nil, h.stream, codeStreamClosed, "DATA on a closed stream")
	case s.remoteClosed:
		return nil, c.streamError(s, h.stream, codeStreamClosed, "DATA after the end")
	}
	if s.received += h.length; s.received > s.allowed {
		return nil, c.streamError(s, h.stream, codeFlowControl, "DATA beyond the window")
	}
	s.arrived += int64(length)
	if s.declared >= 0 && (s.arrived > s.declared || h.has(flagEndStream) && s.arrived != s.declared) {
		// RFC 9113 section 8.1.1: what Content-Length says and what comes
		// must agree.
		return nil, c.streamError(s, h.stream, codeProtocol, "content of another length than it said")
	}
	if h.has(flagEndStream) {
		s.remoteClosed = true
	}
	return s, nil
}

func (c *conn) discard(n int) error {
	if n == 0 {
		return nil
	}
	b := c.server.pools.frames.Get().(*[frameSize]byte)
	defer c.server.pools.frames.Put(b)
	return c.readFull(b[:n], false)
}

// giveBack returns to the client what was read or thrown away of its windows,
// in pieces worth a frame. s is nil if its stream does not matter any more.
func (c *conn) giveBack(s *stream, n int) {
	c.mu.Lock()
	defer c.unlockAndFlush()
	if c.unreturned += n; c.unreturned >= connWindow/4 {
		c.out = appendWindowUpdate(c.out, 0, c.unreturned)
		c.received -= c.unreturned
		c.unreturned = 0
	}
	if s == nil || s.remoteClosed || s.reset {
		return
	}
	if s.unreturned += n; s.unreturned < s.allowed/4 {
		return
	}
	by := s.unreturned
	s.received -= by
	s.unreturned = 0
	if s.allowed < connWindow {
		by += s.allowed
		s.allowed *= 2 // it keeps up
	}
	c.out = appendWindowUpdate(c.out, s.id, by)
}

// unlockAndFlush is for the end of what may have written something.
func (c *conn) unlockAndFlush() {
	flush := c.kick()
	if flush {
		c.work.Add(1) // with the lock: the timer and a stop come here too, while the end may be waiting
	}
	c.mu.Unlock()
	if flush {
		go func() {
			defer c.work.Done()
			c.flushAll()
		}()
	}
}

package resolve

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// lookup asks for a name's addresses. The age is the least time to live of
// what the answers say, mostAge if they say nothing.
func lookup(ctx context.Context, o Options) (addresses []netip.Addr, age time.Duration, err error) {
	note := &ttlNote{least: mostAge}
	resolver := &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if o.NameServer != "" {
				address = o.NameServer
			}
			var dialer net.Dialer
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return note.on(conn), nil
		},
	}
	found, err := resolver.LookupNetIP(ctx, "ip", o.Host)
	for _, each := range found {
		addresses = append(addresses, plain(each))
	}
	return addresses, note.age(), err
}

// ttlNote takes down the least time to live that it reads.
type ttlNote struct {
	mu    sync.Mutex
	least time.Duration
}

func (t *ttlNote) age() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.least
}

// read takes note of one DNS message. Whether it is an answer to the question
// is the resolver's business: a forged one could at most make us ask again
// sooner, within our own bounds.
func (t *ttlNote) read(message []byte) {
	var p dnsmessage.Parser
	if _, err := p.Start(message); err != nil || p.SkipAllQuestions() != nil {
		return
	}
	for {
		h, err := p.AnswerHeader()
		if err != nil || p.SkipAnswer() != nil {
			return
		}
		t.mu.Lock()
		t.least = min(t.least, time.Duration(h.TTL)*time.Second)
		t.mu.Unlock()
	}
}

// on returns the connection with the note reading along. A resolver tells
// datagrams from a stream by the connection's methods.
func (t *ttlNote) on(conn net.Conn) net.Conn {
	if datagrams, ok := conn.(*net.UDPConn); ok {
		return notedPackets{datagrams, t}
	}
	return &notedStream{Conn: conn, note: t}
}

type notedPackets struct {
	*net.UDPConn
	note *ttlNote
}

func (c notedPackets) Read(p []byte) (int, error) {
	n, err := c.UDPConn.Read(p)
	if err == nil {
		c.note.read(p[:n])
	}
	return n, err
}

// notedStream is DNS over TCP: each message after its length (RFC 1035 section
// 4.2.2), which bounds what is kept.
type notedStream struct {
	net.Conn
	note *ttlNote
	seen []byte
}

func (c *notedStream) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.seen = append(c.seen, p[:n]...)
	for len(c.seen) >= 2 {
		end := 2 + int(binary.BigEndian.Uint16(c.seen))
		if len(c.seen) < end {
			break
		}
		c.note.read(c.seen[2:end])
		c.seen = c.seen[end:]
	}
	return n, err
}

package acmetest

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// Tripwire stands in for a proxy that nobody may use: it counts the connections made to it and closes each at once.
type Tripwire struct {
	listener net.Listener
	count    atomic.Int64
	done     sync.WaitGroup
	closing  sync.Once
}

// StartTripwire listens on a free port of 127.0.0.1. Close it.
func StartTripwire() (*Tripwire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("acmetest: tripwire: %w", err)
	}
	t := &Tripwire{listener: l}
	t.done.Go(t.accept)
	return t, nil
}

func (t *Tripwire) accept() {
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.count.Add(1)
		_ = conn.Close()
	}
}

// Addr returns the address as host:port.
func (t *Tripwire) Addr() string { return t.listener.Addr().String() }

// URL returns the address as a proxy variable has it: http://host:port.
func (t *Tripwire) URL() string { return "http://" + t.Addr() }

// Count returns how many connections have been made. A connection is counted before it is closed, so a client that has
// seen its request fail has been counted.
func (t *Tripwire) Count() int { return int(t.count.Load()) }

// Close stops listening. It may be called again.
func (t *Tripwire) Close() error {
	var err error
	t.closing.Do(func() { err = t.listener.Close() })
	t.done.Wait()
	return err
}

package h2

import (
	"net"
	"testing"
	"time"

	"go.uber.org/zap"
)

// A client that does not take the last GOAWAY keeps a connection that was idle for
// too long. The timer must not go off again and again meanwhile.
func TestAConnectionThatEndsIsNotLookedAtAllTheTime(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	c := newConn(New(Options{IdleTimeout: time.Minute, Logger: zap.NewNop()}), near)
	now := time.Now()
	c.since = now.Add(-2 * time.Minute)
	if next := c.nextLook(now); next > time.Second {
		t.Errorf("the end of an idle connection comes in %v", next)
	}
	c.finalGoAway()
	if next := c.nextLook(now); next < time.Second {
		t.Errorf("looked at again in %v", next)
	}
}

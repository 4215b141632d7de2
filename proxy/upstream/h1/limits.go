package h1

import (
	"sync"
	"time"
)

// limits are those of a connection's reads. Setting a deadline on a socket
// costs locks and a timer, and most are replaced long before they are due. So
// one that is too early is left as it is: when it is due and the limit is not,
// it is set anew (early).
type limits struct {
	mu        sync.Mutex
	readLimit time.Time // what is meant; zero: none
	readArmed time.Time // what is set; zero: none
}

// limitRead bounds reading from now on, also a read that waits. Zero means
// without limit.
func (c *conn) limitRead(t time.Time) {
	c.limits.mu.Lock()
	defer c.limits.mu.Unlock()
	c.readLimit = t
	if !t.IsZero() && (c.readArmed.IsZero() || c.readArmed.After(t)) {
		c.armRead(t)
	}
}

// armRead sets the socket's deadline, unless the connection was interrupted,
// which stays so. The lock is held.
func (c *conn) armRead(t time.Time) {
	c.readArmed = t
	_ = c.nc.SetReadDeadline(t)
	if c.interrupted.Load() {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// early reports whether an error is a deadline that was due before its time,
// and sets it anew.
func (c *conn) early(err error) bool {
	if !isDeadline(err) {
		return false
	}
	c.limits.mu.Lock()
	defer c.limits.mu.Unlock()
	if c.interrupted.Load() || !c.readLimit.IsZero() && !time.Now().Before(c.readLimit) {
		return false
	}
	c.armRead(c.readLimit)
	return true
}

// rested repeats what a deadline has ended before its time, such as one that
// was due while the connection was not in use.
func (c *conn) rested(do func() error) error {
	for {
		if err := do(); err == nil || !c.early(err) {
			return err
		}
	}
}

// unlimited removes all limits, for whoever gets the connection.
func (c *conn) unlimited() {
	c.limits.mu.Lock()
	defer c.limits.mu.Unlock()
	c.readLimit = time.Time{}
	c.armRead(time.Time{})
}

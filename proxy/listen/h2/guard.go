package h2

import "time"

// What a client may do that brings nobody forward. Each such frame takes from
// an allowance, which fills up with time and with every frame that does bring
// something forward; when it is used up, the connection ends with
// ENHANCE_YOUR_CALM. So a client that works is not held to any rate, and a flood
// ends after about a thousand frames, whichever kind it is made of: PING,
// SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA or CONTINUATION, RST_STREAM of
// what is closed, or types that nobody knows.
const (
	idleFrames   = 1000 // allowance
	idleRefill   = 50   // a second
	idleEarned   = 4    // for a frame with a request or content, either way
	settingsCost = 10   // an acknowledgement each, and work for every open stream
)

// updateWorth is how much content sent pays for a WINDOW_UPDATE. Clients send
// one for each 4 KiB or more that they have read, for stream and connection, and
// may do so long after the content has left.
const updateWorth = 1 << 10

// The same for requests that are taken back before they are answered: by the
// client (CVE-2023-44487, rapid reset) or by making us reset them
// (CVE-2025-8671, "MadeYouReset"). A browser does so when it leaves a page, so
// a whole page's worth is allowed, and every request that was answered earns one.
const (
	resetRefill = 5  // a second
	resetLeast  = 32 // allowance, if more streams than that may be open: as many
	provoked    = 4  // cost of a reset that a client made us send
)

// After so many resets out of the allowance, requests of that connection begin
// a little late: a client that takes them back at once never reaches a server.
const (
	suspicious = 16
	probation  = 20 * time.Millisecond
)

// allowance is a number of things that may happen, refilled over time. The
// clock is read only when it is nearly used up.
type allowance struct {
	left   int
	most   int
	refill int // a second
	since  time.Time
}

func newAllowance(most, refill int, now time.Time) allowance {
	return allowance{left: most, most: most, refill: refill, since: now}
}

func (a *allowance) earn(n int) { a.left = min(a.left+n, a.most) }

// spend reports false when the allowance is used up.
func (a *allowance) spend(n int) bool {
	a.left -= n
	if a.left < 0 {
		a.fill(time.Now())
	}
	return a.left >= 0
}

func (a *allowance) fill(now time.Time) {
	seconds := now.Sub(a.since).Seconds()
	a.since = now
	a.left = min(a.left+int(min(seconds, 3600)*float64(a.refill)), a.most)
}

// spent returns how much of the allowance is gone.
func (a *allowance) spent() int { return a.most - a.left }

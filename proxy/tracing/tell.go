package tracing

import "time"

// What fails is told at once, the same again after a long while, and something
// else after a short one: a collector that is down for a day is worth a few
// lines, and one that fails every second time is too.
const (
	tellAgain = 10 * time.Minute
	tellOther = time.Minute
)

// teller tells of failures, but not of each.
type teller struct {
	trouble    func(err error, suppressed int) // may be nil
	failing    bool                            // the last that was told is a failure
	text       string                          // of it
	at         time.Time
	suppressed int // failures since
}

// tell takes note of how sending went.
func (t *teller) tell(err error) {
	if t.trouble == nil {
		return
	}
	if err == nil {
		if t.failing {
			t.failing = false
			t.trouble(nil, 0)
		}
		return
	}
	text, since := err.Error(), time.Since(t.at)
	if !t.at.IsZero() && since < tellAgain && (text == t.text || since < tellOther) {
		t.suppressed++
		return
	}
	suppressed := t.suppressed
	t.failing, t.text, t.at, t.suppressed = true, text, time.Now(), 0
	t.trouble(err, suppressed)
}

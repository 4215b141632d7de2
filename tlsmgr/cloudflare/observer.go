package cloudflare

import "time"

// Observer is told what metrics count. It is called on the goroutine of what it
// is told of and must be quick and not block.
type Observer interface {
	// Called is told of each attempt at a call of the API: the HTTP status of the
	// answer, 0 without one.
	Called(credential string, status int)

	// Visible is told how long it took until name servers showed a challenge
	// record.
	Visible(took time.Duration)

	// TokenTaken is told that another token has taken effect.
	TokenTaken(credential string)
}

// nobody observes nothing.
type nobody struct{}

func (nobody) Called(string, int)    {}
func (nobody) Visible(time.Duration) {}
func (nobody) TokenTaken(string)     {}

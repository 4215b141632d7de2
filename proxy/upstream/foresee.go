package upstream

import (
	"net/http"

	"github.com/sallyport/sallyport/proxy/upstream/balance"
)

// Standing is how a server stands with a request that was not tried anywhere
// yet.
type Standing string

// The standings. Only [Eligible] ones are chosen from, unless a sticky cookie
// leads to one that is [Full].
const (
	Eligible  Standing = "eligible"
	Full      Standing = "full"      // as many requests are there as may be, and others have room
	Reserve   Standing = "reserve"   // a backup, while a server that is none is up
	Ejected   Standing = "ejected"   // its requests failed, and others are up
	Unhealthy Standing = "unhealthy" // it fails its health checks
	Draining  Standing = "draining"  // somebody has taken it out
)

// Decider is what decides which server a request goes to.
type Decider string

// The deciders.
const (
	ByChance Decider = ""       // the method of balancing, which has no key for it
	Alone    Decider = "alone"  // no other is left
	ByKey    Decider = "key"    // consistent hashing
	Sticky   Decider = "sticky" // a cookie says where the client was before
)

// Foresight is where a request would go.
type Foresight struct {
	// Standings has one for each server, in the order of the configuration.
	Standings []Standing

	// Server is the index of the one that the request goes to first, -1 if that
	// is not certain or there is none.
	Server int

	// By is what decides.
	By Decider
}

// Foresee says where [Pool.Send] would send a request now. It sends nothing and
// changes nothing.
func (p *Pool) Foresee(req *http.Request) Foresight {
	allowed := p.candidates(&balance.Set{})
	now := p.withRoom(allowed)
	f := Foresight{Server: -1}
	only := -1
	for i, m := range p.members {
		standing := Eligible
		switch {
		case now.Has(i):
			only = i
		case allowed.Has(i):
			standing = Full
		case m.draining.Load():
			standing = Draining
		case m.health.unhealthy.Load():
			standing = Unhealthy
		case !m.health.up():
			standing = Ejected
		default:
			standing = Reserve
		}
		f.Standings = append(f.Standings, standing)
	}
	if allowed.Empty() {
		return f
	}
	f.Server, f.By = p.decide(req, allowed)
	if f.By == ByChance && now.Len() == 1 {
		f.Server, f.By = only, Alone
	}
	return f
}

// decide returns the one of the allowed members that a request belongs to, and
// why; -1 if it belongs to none.
func (p *Pool) decide(req *http.Request, allowed balance.Set) (int, Decider) {
	if len(p.members) == 1 {
		return 0, Alone
	}
	if p.options.StickyCookie != "" {
		if i := p.stuckTo(req); i >= 0 && allowed.Has(i) {
			return i, Sticky
		}
	}
	if p.options.Method == balance.Hash {
		if key := p.key(req); key != balance.NoKey {
			return p.picker.Pick(p.withRoom(allowed), key), ByKey
		}
	}
	return -1, ByChance
}

package cloudflare

import (
	"slices"
	"time"
)

// CredentialStatus is what is known of a credential from its use. Nobody is
// asked for it.
type CredentialStatus struct {
	Name        string
	Zones       []string
	Source      string // where the token comes from
	Fingerprint string // of the token in use; empty without one

	// Used is when the API was last asked with it; zero: never yet.
	Used time.Time

	// CallsLeft is how many calls of the API may be made at once now. 0 while it
	// wants to be left alone.
	CallsLeft int

	// Err is why the token cannot be read or, if it can, why the last call
	// failed. Nil when nothing is known against it.
	Err error
}

// Status returns what is known of each credential, in the order of the
// configuration.
func (m *Mux) Status() []CredentialStatus {
	list := make([]CredentialStatus, 0, len(m.credentials))
	for _, c := range m.credentials {
		list = append(list, c.status())
	}
	return list
}

func (c *credential) status() CredentialStatus {
	s := CredentialStatus{Name: c.name, Zones: slices.Clone(c.zones), Source: c.keeper.source.String()}
	s.CallsLeft = c.endpoint.throttle.left()
	token, err := c.keeper.source.Read() // not token(): looking is no use of it
	if err == nil {
		s.Fingerprint = token.Fingerprint()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Used, s.Err = c.used, c.failure
	if err != nil {
		s.Err = err
		return s
	}
	if !c.token.Equal(token) {
		s.Used, s.Err = time.Time{}, nil // what is known is about another token
	}
	return s
}

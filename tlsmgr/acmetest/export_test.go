package acmetest

import "github.com/letsencrypt/pebble/v2/acme"

// HasReusableAuthorization looks for an authorization that Pebble might use for another order of an account.
func HasReusableAuthorization(a *ACME, account, name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pebble.db.FindValidAuthorization(account, acme.Identifier{Type: acme.IdentifierDNS, Value: name}) != nil
}

// SpelledInDER is how an order is found by a serial number.
func SpelledInDER(digits string) string { return spelledInDER(digits) }

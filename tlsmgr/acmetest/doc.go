// Package acmetest is the outside world on one machine: a certificate authority that speaks ACME, a stand-in for
// Cloudflare's v4 API, and the authoritative name server that answers for the zones of that API. Tests and
// cmd/sandbox obtain real certificates from it without leaving 127.0.0.1.
//
// The parts are joined as the real ones are. A TXT record that a client creates through the API is what the name
// server answers, and what Pebble, Let's Encrypt's own test CA, embedded here as a library, asks for over TCP before
// it issues. The servers have names under sallyport.test that only this name server resolves, and certificates from a
// root that lives as long as the World; a client that reaches them has therefore used the resolver and the roots it
// was told to use. (A loopback address would prove nothing: proxy variables do not apply to it.)
//
//	w, err := acmetest.Start(acmetest.Options{Zones: []string{"example.com"}})
//	if err != nil {
//		return err
//	}
//	defer w.Close()
//	w.API.AddToken(acmetest.Token{Value: token, Zones: []string{"example.com"}})
//	// Point a client at w.DirectoryURL, w.API.URL, w.RootPEM and w.DNS.Addr, let it work, and then read
//	// w.API.Requests(), w.ACME.Orders() and w.DNS.Queries().
//
// Everything that happened can be read back, and waited for: each record has a Wait method that takes a context, so
// that no test needs to sleep.
//
// # Who owns what
//
// A World owns its listeners and every goroutine started for it, Pebble's included: they carry a profiler label that
// nothing else has, and Close returns when the last of them has ended.
//
// # What it must not do
//
// It does not import testing, because cmd/sandbox links it, nor any other package of this module. Nothing but tests
// and cmd/sandbox imports it. It never reads the environment. It does write it: Pebble takes some of its settings from
// variables (PEBBLE_VA_NOSLEEP and the like) at construction and from nowhere else, so Start sets them, constructs
// Pebble and unsets them again, one World at a time.
package acmetest

package listen

import (
	"crypto/tls"
	"crypto/x509"
	"sync"
)

// ClientAuth is what a site wants of its clients' certificates. It never
// changes; a site whose authorities change gets a new one. It owns the keys of
// the session tickets that are given out under it, so that a session begun
// under another one, of another site or with other authorities, cannot be
// resumed under this: a session carries what was verified when it began.
type ClientAuth struct {
	require bool
	roots   *x509.CertPool

	once   sync.Once
	config *tls.Config
}

// NewClientAuth returns what a site wants: a certificate that one of the roots
// has signed for client authentication. Without require a client may do without
// a certificate, but not with a bad one.
func NewClientAuth(roots *x509.CertPool, require bool) *ClientAuth {
	return &ClientAuth{require: require, roots: roots}
}

// over returns the configuration for a handshake under a, made from that of all
// others when it is first needed.
func (a *ClientAuth) over(base *tls.Config) *tls.Config {
	a.once.Do(func() {
		own := base.Clone()
		own.ClientCAs, own.ClientAuth = a.roots, tls.VerifyClientCertIfGiven
		if a.require {
			own.ClientAuth = tls.RequireAndVerifyClientCert
		}
		// A config that GetConfigForClient returns uses the ticket keys of the
		// one it stands in for, unless it brings its own. Encrypted by way of
		// keys, a config of its own, they are, and rotate as ever; cloning own
		// (QUIC does) changes nothing about that.
		keys := own.Clone()
		own.WrapSession, own.UnwrapSession = keys.EncryptTicket, keys.DecryptTicket
		a.config = own
	})
	return a.config
}

// askClients returns a GetConfigForClient: nil, which is base itself, for names
// that want nothing of their clients.
func askClients(base *tls.Config, find func(string) *ClientAuth) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if a := find(hello.ServerName); a != nil {
			return a.over(base), nil
		}
		return nil, nil
	}
}

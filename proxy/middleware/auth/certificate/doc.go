// Package certificate knows which authorities sign a site's clients'
// certificates (mTLS), and makes sure, request by request, that the connection
// was opened under the rule that holds now.
//
// Certificates are asked for and verified in the handshake, which proxy/listen
// does with the roots from here. A connection lives longer than a handshake,
// though: meanwhile a reload may have begun to ask for certificates, an authority
// may have been taken out of its file, a certificate may have expired. Such a
// request gets 421, upon which clients open another connection.
//
// It is a leaf: it imports exchange and reread of the house. A [Gate] has no
// goroutine and nothing to close; it lives across reloads as long as its
// [Options] stay the same.
//
//	gate, err := certificate.New(certificate.Options{Files: "/etc/pki/staff.pem", Require: true}, logger)
//	roots := gate.Roots() // for the handshake
//	handler = gate.Wrap(handler, []certificate.Field{{Name: "X-Client-Subject", What: certificate.Subject}})
package certificate

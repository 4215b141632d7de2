// Package tlsfiles reads the files that TLS to a server goes by: the
// certificates that may sign the server's, and the certificate that we show
// with its key. They are read again when they change, at the next handshake
// that asks for them: no goroutine watches, and nothing is read twice. A
// change that cannot be used is told once, and what was read before stays.
//
// The package imports no other room and no configuration. Nobody owns
// anything.
//
//	files, err := tlsfiles.Open(tlsfiles.Options{CA: "/etc/pki/internal.pem"})
//	if err != nil {
//		return err // names the file and, by Hint, the cure
//	}
//	set, err := files.Current()
package tlsfiles

package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
)

// Options names the files. Values can be compared with ==.
type Options struct {
	// CA is a PEM file of certificates that may sign the server's, or are the
	// server's own. Empty: none is named.
	CA string

	// Certificate, PEM with its chain, is shown to servers that ask for one,
	// and Key is its private key. Either both or none.
	Certificate, Key string
}

// Set is what was read. It never changes.
type Set struct {
	// Roots is nil where no CA is named.
	Roots *x509.CertPool
	// Certificate is nil where none is named.
	Certificate *tls.Certificate
}

// Error is a file that cannot be used.
type Error struct {
	Part string // "ca", "certificate" or "key", as in the configuration
	Path string
	Err  error

	hint string
}

// Error names the file and the cause.
func (e *Error) Error() string {
	cause := e.Err
	if pathError, ok := errors.AsType[*fs.PathError](cause); ok {
		cause = pathError.Err
	}
	return fmt.Sprintf("%s file %s: %v", e.Part, e.Path, cause)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do, or is empty when nothing can be said.
func (e *Error) Hint() string { return e.hint }

// Files is the files and what was read of them last. It is safe for concurrent
// use.
type Files struct {
	options Options

	mu     sync.Mutex
	set    *Set
	stamps [3]stamp // of what was looked at last, good or bad
}

// Open reads the files. An error is an [*Error].
func Open(o Options) (*Files, error) {
	f := &Files{options: o, stamps: stampsOf(o)}
	var err error
	f.set, err = read(o)
	return f, err
}

// Current returns what the files hold, reading them again if they have
// changed. The set is the same pointer for as long as nothing changes. An
// error, an [*Error], says that a change cannot be used; it is returned once,
// and the set is the one before.
func (f *Files) Current() (*Set, error) {
	now := stampsOf(f.options)
	f.mu.Lock()
	defer f.mu.Unlock()
	same := true
	for i := range now {
		same = same && now[i].same(f.stamps[i])
	}
	if same {
		return f.set, nil
	}
	f.stamps = now
	next, err := read(f.options)
	if err != nil {
		return f.set, err
	}
	f.set = next
	return next, nil
}

func read(o Options) (*Set, error) {
	set := &Set{}
	if o.CA != "" {
		text, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, unreadable("ca", o.CA, err)
		}
		set.Roots = x509.NewCertPool()
		if !set.Roots.AppendCertsFromPEM(text) {
			return nil, &Error{"ca", o.CA, errors.New("it holds no certificate"), "it must be PEM: the certificates that may sign the server's, or the server's own"}
		}
	}
	if o.Certificate == "" {
		return set, nil
	}
	certificate, err := os.ReadFile(o.Certificate)
	if err != nil {
		return nil, unreadable("certificate", o.Certificate, err)
	}
	key, err := os.ReadFile(o.Key)
	if err != nil {
		return nil, unreadable("key", o.Key, err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, unusable(o, certificate, err)
	}
	set.Certificate = &pair
	return set, nil
}

func unreadable(part, path string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = "check the path; in a container, check that the directory is mounted"
	case errors.Is(err, fs.ErrPermission):
		hint = fmt.Sprintf("let user %d read it, and nobody who need not", os.Geteuid())
	}
	return &Error{part, path, err, hint}
}

// unusable finds out which file of a pair is to blame. The texts of crypto/tls
// never quote file content.
func unusable(o Options, certificate []byte, err error) error {
	text := strings.TrimPrefix(err.Error(), "tls: ")
	switch {
	case strings.Contains(text, "does not match"):
		return &Error{"key", o.Key, fmt.Errorf("it is not the key of %s", o.Certificate), "name the key that the certificate was requested with; our own certificate must come first in its file, its chain follows"}
	case !x509.NewCertPool().AppendCertsFromPEM(certificate):
		return &Error{"certificate", o.Certificate, errors.New(text), "it must be PEM: the certificate to show first, then its chain"}
	}
	return &Error{"key", o.Key, errors.New(text), "it must be an unencrypted private key in PEM"}
}

// stamp tells versions of a file apart without reading it. nil: no such file,
// or none is named.
type stamp struct{ info fs.FileInfo }

func stampsOf(o Options) (all [3]stamp) {
	for i, path := range []string{o.CA, o.Certificate, o.Key} {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			all[i].info = info
		}
	}
	return all
}

func (s stamp) same(other stamp) bool {
	if s.info == nil || other.info == nil {
		return s.info == nil && other.info == nil
	}
	return os.SameFile(s.info, other.info) && s.info.Size() == other.info.Size() && s.info.ModTime().Equal(other.info.ModTime())
}

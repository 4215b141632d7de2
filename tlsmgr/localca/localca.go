package localca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Lifetimes. Browsers refuse leaves of more than about a year; short ones make
// renewal an everyday matter. Both begin an hour early, for machines whose
// clocks differ.
const (
	RootLifetime = 10 * 365 * 24 * time.Hour
	LeafLifetime = 7 * 24 * time.Hour

	early = time.Hour
)

const (
	rootName = "root.pem"
	keyName  = "root.key"
)

// Options is what an authority needs.
type Options struct {
	// Dir keeps the root certificate (root.pem, 0644) and its key (root.key,
	// 0600). It is made, with its parents, when missing.
	Dir string
}

// Authority signs certificates with a root of its own. Its methods may be
// called from several goroutines.
type Authority struct {
	dir  string
	root *x509.Certificate
	key  crypto.Signer
}

// Error is a root that cannot be used. The files are never overwritten: people
// have made machines trust that root.
type Error struct {
	Dir string
	Err error
}

// Error names the directory and the cause.
func (e *Error) Error() string { return fmt.Sprintf("internal CA in %s: %v", e.Dir, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says how to get a new root.
func (e *Error) Hint() string {
	switch {
	case errors.Is(e.Err, syscall.EROFS):
		return fmt.Sprintf("mount %s writable: a new root has to be kept there", filepath.Dir(e.Dir))
	case errors.Is(e.Err, syscall.ENOSPC):
		return fmt.Sprintf("free space for %s: a new root has to be kept there", e.Dir)
	}
	return fmt.Sprintf("restore %s from a backup, or move it away: a new root is made then, which clients have to trust anew", e.Dir)
}

// Open loads the root of the directory, or makes one if the directory is
// missing or empty. A root that is damaged, incomplete or expired is an
// [*Error].
func Open(options Options) (*Authority, error) {
	if options.Dir == "" {
		return nil, errors.New("internal CA: no directory given")
	}
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, fmt.Errorf("internal CA in %s: %w", options.Dir, err)
	}
	authority, err := load(dir)
	if errors.Is(err, errNone) {
		if err := create(dir); err != nil {
			return nil, &Error{Dir: dir, Err: err}
		}
		authority, err = load(dir) // perhaps another process was first: then it is its root
	}
	if err != nil {
		return nil, &Error{Dir: dir, Err: err}
	}
	return authority, nil
}

// RootPath returns the file with the root certificate, for people to trust.
func (a *Authority) RootPath() string { return filepath.Join(a.dir, rootName) }

// Root returns the root certificate. It must not be changed.
func (a *Authority) Root() *x509.Certificate { return a.root }

// Signed reports whether the root has signed a certificate, by the identifier of
// the key alone (RFC 5280 section 4.2.1.1): it is for certificates that are
// served already, none of which comes from a stranger, and a thousand signatures
// are a tenth of a second.
func (a *Authority) Signed(leaf *x509.Certificate) bool {
	if len(a.root.SubjectKeyId) == 0 {
		return leaf.CheckSignatureFrom(a.root) == nil
	}
	return bytes.Equal(leaf.AuthorityKeyId, a.root.SubjectKeyId)
}

// Issue makes a key and a certificate for the names, of which wildcards such
// as *.localhost may be some. It is valid for LeafLifetime, or until the root
// ends; its Leaf is set.
func (a *Authority) Issue(names ...string) (*tls.Certificate, error) {
	if len(names) == 0 {
		return nil, &Error{Dir: a.dir, Err: errors.New("no name to issue a certificate for")}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, &Error{Dir: a.dir, Err: err}
	}
	now := time.Now()
	if now.After(a.root.NotAfter) {
		return nil, &Error{Dir: a.dir, Err: fmt.Errorf("root expired on %s", a.root.NotAfter.Format(time.DateOnly))}
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: commonName(names[0])},
		DNSNames:     names,
		NotBefore:    now.Add(-early),
		NotAfter:     earlier(now.Add(LeafLifetime), a.root.NotAfter),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, key.Public(), a.key)
	if err != nil {
		return nil, &Error{Dir: a.dir, Err: err}
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, &Error{Dir: a.dir, Err: err}
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// errNone says that no root was ever made.
var errNone = errors.New("no root")

// load reads the root and its key and makes sure that they are of use.
func load(dir string) (*Authority, error) {
	certificate, certificateErr := os.ReadFile(filepath.Join(dir, rootName))
	key, keyErr := os.ReadFile(filepath.Join(dir, keyName))
	if errors.Is(certificateErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		return nil, errNone
	}
	if err := errors.Join(certificateErr, keyErr); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s are damaged or do not belong together: %w", rootName, keyName, err)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA || !pair.Leaf.BasicConstraintsValid {
		return nil, fmt.Errorf("%s is not the certificate of an authority", rootName)
	}
	if time.Now().After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("%s expired on %s", rootName, pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	if info, err := os.Stat(filepath.Join(dir, keyName)); err != nil {
		return nil, err
	} else if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): chmod 600 it, or give it up if it may have leaked", keyName, mode)
	}
	return &Authority{dir: dir, root: pair.Leaf, key: signer}, nil
}

func serial() *big.Int {
	limit := new(big.Int).Lsh(big.NewInt(1), 127) // at most 20 octets, RFC 5280 section 4.1.2.2
	number, err := rand.Int(rand.Reader, limit)
	if err != nil {
		panic(err) // crypto/rand does not fail; it ends the program itself
	}
	return number.Add(number, big.NewInt(1))
}

// commonName shortens a name to what the field holds (RFC 5280 appendix A.1);
// clients look at the alternative names only.
func commonName(name string) string {
	if len(name) > 64 {
		return name[:64]
	}
	return name
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

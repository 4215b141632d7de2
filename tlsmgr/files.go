package tlsmgr

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// FileError is a certificate or key file that cannot be used.
type FileError struct {
	// Part is "certificate" or "key", as in the configuration.
	Part string
	Path string
	Err  error

	hint string
}

// Error names the file and the cause.
func (e *FileError) Error() string {
	cause := e.Err
	if pathError, ok := errors.AsType[*fs.PathError](cause); ok {
		cause = pathError.Err
	}
	return fmt.Sprintf("%s file %s: %v", e.Part, e.Path, cause)
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Hint says what to do, or is empty when nothing can be said.
func (e *FileError) Hint() string { return e.hint }

// readPair reads a certificate with its chain and its key. It never returns a
// pair that does not match: that is a *FileError, as is all else.
func readPair(certificateFile, keyFile string) (*tls.Certificate, error) {
	certificatePEM, err := os.ReadFile(certificateFile)
	if err != nil {
		return nil, unreadable("certificate", certificateFile, err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, unreadable("key", keyFile, err)
	}
	certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		return nil, unusable(certificateFile, keyFile, certificatePEM, err)
	}
	return &certificate, nil
}

func unreadable(part, path string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = "check the path; in a container, check that the directory is mounted"
	case errors.Is(err, fs.ErrPermission):
		hint = fmt.Sprintf("let user %d read it, and nobody who need not", os.Geteuid())
	}
	return &FileError{Part: part, Path: path, Err: err, hint: hint}
}

// unusable finds out which of the two files is to blame. The texts of
// crypto/tls never quote file content.
func unusable(certificateFile, keyFile string, certificatePEM []byte, err error) error {
	text := strings.TrimPrefix(err.Error(), "tls: ")
	failure := &FileError{Part: "key", Path: keyFile, Err: errors.New(text)}
	switch {
	case strings.Contains(text, "does not match"):
		failure.Err = fmt.Errorf("it is not the key of %s", certificateFile)
		failure.hint = "name the key that the certificate was requested with; the first certificate of the file must be the site's own, its chain follows"
	case !holdsCertificate(certificatePEM):
		failure.Part, failure.Path = "certificate", certificateFile
		failure.hint = "it must be PEM: the site's certificate first, then its chain"
	default:
		failure.hint = "it must be an unencrypted private key in PEM"
	}
	return failure
}

func holdsCertificate(content []byte) bool {
	return x509.NewCertPool().AppendCertsFromPEM(content)
}

// covers returns an error unless the certificate is good for name, which may
// be a wildcard.
func covers(certificate *tls.Certificate, file, name string) error {
	leaf := certificate.Leaf
	err := leaf.VerifyHostname(name)
	if strings.HasPrefix(name, "*.") {
		err = x509.HostnameError{Certificate: leaf, Host: name}
		for _, covered := range leaf.DNSNames {
			if canonicalName(covered) == name {
				err = nil
			}
		}
	}
	if err == nil {
		return nil
	}
	return &FileError{
		Part: "certificate", Path: file,
		Err:  fmt.Errorf("it is for %s, not for %s", nameList(leaf.DNSNames), name),
		hint: fmt.Sprintf("get a certificate that includes %s, or remove `tls` from the site to have one obtained", name),
	}
}

func nameList(names []string) string {
	const most = 5
	switch {
	case len(names) == 0:
		return "no DNS name"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// current returns an error if the certificate has expired or is not valid yet.
func current(certificate *tls.Certificate, file string) error {
	now := time.Now()
	failure := &FileError{Part: "certificate", Path: file, hint: "put a newer one in its place; it is picked up without a reload"}
	switch leaf := certificate.Leaf; {
	case now.After(leaf.NotAfter):
		failure.Err = fmt.Errorf("it expired on %s", leaf.NotAfter.Format(time.DateOnly))
		return failure
	case now.Before(leaf.NotBefore):
		failure.Err = fmt.Errorf("it is valid only from %s", leaf.NotBefore.Format(time.DateTime))
		failure.hint = "check the clock of this machine"
		return failure
	}
	return nil
}

// fileStamp tells versions of a file apart without reading it. Editors and
// certificate tools replace files (another inode) or write in place (another
// time or size).
type fileStamp struct {
	info fs.FileInfo // nil: could not be had
}

func stampOf(path string) fileStamp {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{info}
}

func (s fileStamp) same(other fileStamp) bool {
	if s.info == nil || other.info == nil {
		return s.info == nil && other.info == nil
	}
	return os.SameFile(s.info, other.info) && s.info.Size() == other.info.Size() && s.info.ModTime().Equal(other.info.ModTime())
}

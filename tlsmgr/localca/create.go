package localca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// create makes a root. Both files appear in one step, by the rename of a
// directory, so that neither a crash nor a second process leaves half of it or
// replaces a root that is there already.
func create(dir string) error {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(parent, ".new-localca-") // mode 0700
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }() // nothing is left there after the rename
	certificate, key, err := newRoot()
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(temp, keyName), key, 0o600); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(temp, rootName), certificate, 0o644); err != nil {
		return err
	}
	// A rename replaces an empty directory and no other.
	if err := os.Rename(temp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("put the new root in place: %w", err)
	}
	return nil
}

// newRoot returns a certificate that signs itself, and its key, as PEM.
func newRoot() (certificate, key []byte, err error) {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial(),
		// The date tells two roots apart in a list of trusted authorities.
		Subject:               pkix.Name{CommonName: "Sallyport internal CA " + now.Format(time.DateOnly)},
		NotBefore:             now.Add(-early),
		NotAfter:              now.Add(RootLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it signs leaves only
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil, nil, err
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	return certificate, key, nil
}

// writeFile writes a new file and waits until it is on the disk.
func writeFile(name string, content []byte, mode fs.FileMode) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	// The umask may have taken bits that root.pem needs.
	return errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
}

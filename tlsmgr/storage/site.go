package storage

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
)

// A certificate is three files that certmagic stores one after the other: key,
// certificate, metadata. If the process dies between the first two, the new
// key lies beside the old certificate and neither is of use; if the disk is
// full, certmagic deletes those it has stored, and with them the only copies of
// what they replaced.
//
// So before the first of the three is replaced, the old three get a second name
// (FILE.previous, a hard link), and the metadata, which comes last, removes
// those. While they are there, readers get the previous files unless the new
// key and the new certificate belong together.
//
// One file that holds all three would need no such care, but people expect to
// find a .crt that openssl can read.

// previous ends the name of what a file held before it was replaced.
const previous = ".previous"

// site is the key of a certificate's files, without their extension.
type site string

func (s site) key() string         { return string(s) + ".key" }
func (s site) certificate() string { return string(s) + ".crt" }
func (s site) metadata() string    { return string(s) + ".json" }

func (s site) all() [3]string { return [3]string{s.key(), s.certificate(), s.metadata()} }

// siteOf reports whether key is one of the three files of a certificate
// (certificates/ISSUER/NAME/NAME.EXT).
func siteOf(key string) (site, bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 4 || parts[0] != "certificates" {
		return "", false
	}
	switch ext := path.Ext(key); ext {
	case ".key", ".crt", ".json":
		return site(strings.TrimSuffix(key, ext)), true
	}
	return "", false
}

// storeSite stores one of a certificate's files. The caller holds its lock.
func (d *Dir) storeSite(s site, key string, value []byte) error {
	if key == s.key() {
		if err := d.keepPrevious(s); err != nil {
			return err
		}
	}
	if err := d.write(d.files.Filename(key), value); err != nil {
		return err
	}
	if key == s.metadata() && d.matches(s, "") {
		return d.dropPrevious(s)
	}
	return nil
}

// keepPrevious gives the current files of a certificate a second name, if they
// are worth keeping: a pair that does not match must not replace one that does.
func (d *Dir) keepPrevious(s site) error {
	if !d.matches(s, "") {
		return nil
	}
	for _, key := range s.all() {
		file := d.files.Filename(key)
		if err := os.Remove(file + previous); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.fail("remove", file+previous, err)
		}
		if err := d.keep(file); err != nil {
			return err
		}
	}
	return nil
}

// keep gives file a second name, or copies it where there are no hard links.
func (d *Dir) keep(file string) error {
	err := os.Link(file, file+previous)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	value, err := os.ReadFile(file)
	if err != nil {
		return d.fail("read", file, err)
	}
	return d.write(file+previous, value)
}

// dropPrevious removes what keepPrevious kept.
func (d *Dir) dropPrevious(s site) error {
	for _, key := range s.all() {
		file := d.files.Filename(key) + previous
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.fail("remove", file, err)
		}
	}
	return nil
}

// current returns the file to read for key: the previous one while the
// certificate is half replaced. The caller holds its lock.
func (d *Dir) current(s site, key string) string {
	file := d.files.Filename(key)
	if _, err := os.Stat(d.files.Filename(s.key()) + previous); err != nil {
		return file // the usual case: nothing is being replaced
	}
	if !d.matches(s, "") && d.matches(s, previous) {
		return file + previous
	}
	return file
}

// matches reports whether the key and the certificate with that suffix exist
// and belong together.
func (d *Dir) matches(s site, suffix string) bool {
	certificate, err := os.ReadFile(d.files.Filename(s.certificate()) + suffix)
	if err != nil {
		return false
	}
	key, err := os.ReadFile(d.files.Filename(s.key()) + suffix)
	if err != nil {
		return false
	}
	_, err = tls.X509KeyPair(certificate, key)
	return err == nil
}

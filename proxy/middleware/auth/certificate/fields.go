package certificate

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Field is what the server behind is told of a certificate.
type Field struct {
	Name string // in canonical form
	What What
}

// What can be told.
type What string

// What can be told of a certificate.
const (
	Subject     What = "subject"     // CN=ann,O=Example (RFC 4514)
	CommonName  What = "common_name" // ann
	Fingerprint What = "fingerprint" // SHA-256, 64 hexadecimal digits
	Serial      What = "serial"      // hexadecimal
	Names       What = "names"       // of subjectAltName, with commas between
	Certificate What = "certificate" // all of it, :base64: (RFC 9440 section 2.2)
)

// of returns what is to be told of a certificate, "" for nothing.
func (w What) of(c *x509.Certificate) string {
	switch w {
	case Subject:
		return printable(c.Subject.String())
	case CommonName:
		return printable(c.Subject.CommonName)
	case Fingerprint:
		sum := sha256.Sum256(c.Raw)
		return hex.EncodeToString(sum[:])
	case Serial:
		return fmt.Sprintf("%x", c.SerialNumber)
	case Names:
		return names(c)
	case Certificate:
		return ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":"
	}
	return ""
}

// names lists the subject's other names. One with a comma in it could be taken
// for two and is left out.
func names(c *x509.Certificate) string {
	list := append([]string{}, c.DNSNames...)
	list = append(list, c.EmailAddresses...)
	for _, address := range c.IPAddresses {
		list = append(list, address.String())
	}
	for _, uri := range c.URIs {
		list = append(list, uri.String())
	}
	var good []string
	for _, name := range list {
		if name != "" && !strings.Contains(name, ",") {
			good = append(good, printable(name))
		}
	}
	return strings.Join(good, ",")
}

// printable returns a text with control characters written as \XX, the way RFC
// 4514 section 2.4 writes them, and without blanks at its ends: an authority may
// sign anything.
func printable(text string) string {
	text = strings.TrimSpace(text)
	if !strings.ContainsFunc(text, control) {
		return text
	}
	var out strings.Builder
	for _, c := range []byte(text) {
		if control(rune(c)) {
			fmt.Fprintf(&out, `\%02X`, c)
			continue
		}
		out.WriteByte(c)
	}
	return out.String()
}

func control(c rune) bool { return c < ' ' || c == 0x7f }

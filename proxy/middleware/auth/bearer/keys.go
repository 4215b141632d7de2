package bearer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

const (
	// mostKeys bounds a set, and with it how many keys a token without a key id
	// is tried with.
	mostKeys = 32

	// leastRSA is the least length of an RSA key, in bits (RFC 7518 section
	// 3.3).
	leastRSA = 2048
)

// key is a public key and what it may be used for.
type key struct {
	id        string // "" if it has none
	algorithm string // "" if it may be used with any of its kind
	public    any
}

// KeyError says why a key file is of no use.
type KeyError struct {
	Reason, Cure string
}

// Error returns the reason.
func (e *KeyError) Error() string { return e.Reason }

// Hint says what to do.
func (e *KeyError) Hint() string { return e.Cure }

// parseKeys reads a file of keys: PEM (public keys, certificates) or JSON (a
// JWK or a set of them).
func parseKeys(text []byte) ([]key, error) {
	text = bytes.TrimSpace(text)
	if len(text) > 0 && text[0] == '{' {
		return parseSet(text)
	}
	var keys []key
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		public, err := parsePEM(block)
		if err != nil {
			return nil, err
		}
		if reason := unfit(public); reason != "" {
			return nil, &KeyError{reason, "use RSA with at least 2048 bits, ECDSA with P-256, P-384 or P-521, or Ed25519"}
		}
		keys = append(keys, key{public: public})
	}
	if len(keys) == 0 || len(keys) > mostKeys {
		return nil, &KeyError{"there is no public key in it, or more than 32", "it wants PEM (BEGIN PUBLIC KEY, BEGIN CERTIFICATE) or a JWK set in JSON"}
	}
	return keys, nil
}

func parsePEM(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		return nil, &KeyError{"it holds a private key", "only the public half is needed here: openssl pkey -in FILE -pubout"}
	}
	return nil, &KeyError{fmt.Sprintf("it holds a %q", block.Type), "it wants BEGIN PUBLIC KEY or BEGIN CERTIFICATE"}
}

// parseSet reads a JWK set (RFC 7517 section 5), or a single JWK. Keys that
// cannot verify a signature here (symmetric, for encryption, too short, of an
// unknown kind) are left out, as the RFC wants it: an issuer may add such.
func parseSet(text []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
		Kind string            `json:"kty"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("it is not a JWK set: invalid JSON")
	}
	if set.Keys == nil && set.Kind != "" {
		set.Keys = []json.RawMessage{text}
	}
	var keys []key
	for _, raw := range set.Keys {
		var jwk jose.JSONWebKey
		if jwk.UnmarshalJSON(raw) != nil || jwk.Use == "enc" {
			continue
		}
		if public := jwk.Public(); public.Valid() && unfit(public.Key) == "" {
			keys = append(keys, key{jwk.KeyID, jwk.Algorithm, public.Key})
		}
		if len(keys) > mostKeys {
			return nil, fmt.Errorf("it has more than %d keys", mostKeys)
		}
	}
	if len(keys) == 0 {
		return nil, &KeyError{"it has no public key for signatures", "symmetric keys (oct) and keys for encryption are not used"}
	}
	return keys, nil
}

// unfit says why a public key is not used, or "".
func unfit(public any) string {
	switch public := public.(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() < leastRSA {
			return fmt.Sprintf("it holds an RSA key of %d bits", public.N.BitLen())
		}
		return ""
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return ""
	}
	return fmt.Sprintf("it holds a key of a kind that is not supported (%T)", public)
}

// fits reports whether a key may verify an algorithm. The curve is bound to it
// (RFC 7518 section 3.4), which the library leaves to the signature's length.
func (k key) fits(algorithm string) bool {
	if k.algorithm != "" && k.algorithm != algorithm {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return algorithm[:2] == "RS" || algorithm[:2] == "PS"
	case *ecdsa.PublicKey:
		bits := map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}[algorithm]
		return bits == public.Curve.Params().BitSize
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

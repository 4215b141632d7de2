package limit

import (
	"fmt"
	"hash/maphash"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Key says by what requests are told apart. Each part is one of the words
// below or header:NAME or cookie:NAME; parts are separated by blanks, and all
// have to be the same for two requests to count together. Empty: client_ip.
//
//	client_ip  the client's address; of IPv6 the /64, which is what one
//	           subscriber gets
//	peer_ip    the other end of the connection, likewise
//	host       the Host, without regard to case and port
//	path       the path, decoded, so that spelling it otherwise is no way past
//	method     the method
//	user       who the client has proven to be; the client's address without
//	site       one count for all requests of the site
//
// A request without the header or the cookie counts with all others that have
// none: leaving it out is no way past the limit.
type Key string

// part is one part of a key.
type part struct {
	kind string
	name string // of a header or cookie
}

// keyer makes one number of what a key tells of a request.
type keyer struct {
	seed  maphash.Seed // secret, so that nobody can choose keys that collide
	parts []part
}

func newKeyer(k Key) (*keyer, error) {
	parts, err := k.parse()
	if err != nil {
		return nil, err
	}
	return &keyer{seed: maphash.MakeSeed(), parts: parts}, nil
}

// Check reports what is wrong with a key.
func (k Key) Check() error {
	_, err := k.parse()
	return err
}

// AfterAuth reports whether the key can only be told once the client has
// proven who it is.
func (k Key) AfterAuth() bool {
	parts, _ := k.parse()
	for _, p := range parts {
		if p.kind == "user" {
			return true
		}
	}
	return false
}

func (k Key) parse() ([]part, error) {
	var parts []part
	for word := range strings.FieldsSeq(string(k)) {
		kind, name, named := strings.Cut(word, ":")
		switch kind {
		case "header", "cookie":
			if !named || name == "" {
				return nil, fmt.Errorf("key %q has no name", word)
			}
			if kind == "header" {
				name = textproto.CanonicalMIMEHeaderKey(name)
			}
		case "client_ip", "peer_ip", "host", "path", "method", "user", "site":
			if named {
				return nil, fmt.Errorf("key %q: %s takes no name", word, kind)
			}
		default:
			return nil, fmt.Errorf("there is no key %q", word)
		}
		parts = append(parts, part{kind, name})
	}
	if len(parts) == 0 {
		parts = []part{{kind: "client_ip"}}
	}
	return parts, nil
}

// of returns the number of a request. Two keys that are not the same have the
// same number about once in 2^64.
func (k *keyer) of(r *http.Request) uint64 {
	x := exchange.Of(r)
	if len(k.parts) == 1 && k.parts[0].kind == "client_ip" { // nearly always
		var buf [16]byte
		return maphash.Bytes(k.seed, network(buf[:0], x.Client))
	}
	var h maphash.Hash
	h.SetSeed(k.seed)
	for _, p := range k.parts {
		p.write(&h, r, x)
		_ = h.WriteByte(0) // occurs in no value, so that "a"+"bc" is not "ab"+"c"
	}
	return h.Sum64()
}

func (p part) write(h *maphash.Hash, r *http.Request, x *exchange.Exchange) {
	switch p.kind {
	case "client_ip":
		writeAddress(h, x.Client)
	case "peer_ip":
		writeAddress(h, x.Peer.Addr().Unmap())
	case "host":
		writeLower(h, withoutPort(r.Host))
	case "path":
		_, _ = h.WriteString(r.URL.Path)
	case "method":
		_, _ = h.WriteString(r.Method)
	case "user":
		if x.User != "" {
			_ = h.WriteByte('u')
			_, _ = h.WriteString(x.User)
			return
		}
		writeAddress(h, x.Client)
	case "site":
		_, _ = h.WriteString(x.Site)
	case "header":
		for _, value := range r.Header[p.name] {
			_, _ = h.WriteString(value)
			_ = h.WriteByte(1)
		}
	case "cookie":
		if c, err := r.Cookie(p.name); err == nil {
			_, _ = h.WriteString(c.Value)
		}
	}
}

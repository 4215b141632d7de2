package certificate

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/reread"
)

// Options says whose certificates are good. Options are comparable: a Gate can
// be found by them.
type Options struct {
	// Files are the names of PEM files with the authorities' certificates,
	// separated by line breaks. Read again when they change; one that has become
	// bad leaves its authorities as they were.
	Files string

	// Require refuses requests without a certificate.
	Require bool
}

// Gate lets requests pass whose client has proven what it has to.
type Gate struct {
	require bool
	files   []*reread.File[[]*x509.Certificate]
	current atomic.Pointer[authorities]
}

// authorities are those of all files at one time.
type authorities struct {
	parts []*[]*x509.Certificate // what each file held
	roots *x509.CertPool
}

// FileError says what is wrong with a file of authorities.
type FileError struct{ Reason, Cure string }

// Error returns the reason.
func (e *FileError) Error() string { return e.Reason }

// Hint says what to do.
func (e *FileError) Hint() string { return e.Cure }

// New reads the files. An error names the file and may have a Hint.
func New(o Options, logger *zap.Logger) (*Gate, error) {
	g := &Gate{require: o.Require}
	for path := range strings.SplitSeq(o.Files, "\n") {
		file, err := reread.Open(path, parse, func(err error) {
			if err != nil {
				logger.Error("client authorities not read again: those from before still count", zap.Error(err))
				return
			}
			logger.Info("client authorities read again", zap.String("file", path))
		})
		if err != nil {
			return nil, err
		}
		g.files = append(g.files, file)
	}
	g.Roots()
	return g, nil
}

func parse(text []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		if block.Type != "CERTIFICATE" {
			return nil, &FileError{"it holds a " + block.Type, "only the authorities' certificates belong there"}
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if certificate.Version == 3 && !certificate.IsCA {
			return nil, &FileError{"the certificate of " + certificate.Subject.String() + " is not an authority's", "name the certificate that signed the clients', not one of theirs"}
		}
		list = append(list, certificate)
	}
	if len(list) == 0 {
		return nil, &FileError{"there is no certificate in it", "it wants PEM: BEGIN CERTIFICATE"}
	}
	return list, nil
}

// Roots returns the authorities as they are now: the same pool until a file
// changes.
func (g *Gate) Roots() *x509.CertPool { return g.now().roots }

// Requires reports whether a client has to have a certificate.
func (g *Gate) Requires() bool { return g.require }

func (g *Gate) now() *authorities {
	last := g.current.Load()
	same := last != nil
	for i, file := range g.files {
		if part := file.Get(); same && last.parts[i] != part {
			same = false
		}
	}
	if same {
		return last
	}
	next := &authorities{roots: x509.NewCertPool()}
	for _, file := range g.files {
		part := file.Get()
		next.parts = append(next.parts, part)
		for _, certificate := range *part {
			next.roots.AddCert(certificate)
		}
	}
	if !g.current.CompareAndSwap(last, next) {
		return g.current.Load() // somebody was faster
	}
	return next
}

// trusts reports whether a certificate is one of the authorities'.
func (a *authorities) trusts(root *x509.Certificate) bool {
	return slices.ContainsFunc(a.parts, func(part *[]*x509.Certificate) bool {
		return slices.ContainsFunc(*part, root.Equal)
	})
}

// Refusals.
var (
	errPlain = &exchange.Refusal{Status: http.StatusForbidden, Label: "certificate_missing", Reason: "the client has no certificate: the request came without TLS"}
	errNone  = &exchange.Refusal{Status: http.StatusMisdirectedRequest, Label: "certificate_missing", Reason: "the connection was opened without a client certificate"}
	errStale = &exchange.Refusal{Status: http.StatusMisdirectedRequest, Label: "certificate_stale", Reason: "the client's certificate has expired since, or its authority counts no more"}
)

// Wrap returns a handler that serves only requests whose client has proven what
// it has to, sets the exchange's User to the certificate's common name (or, without one, its fingerprint), and the
// fields to what they are to tell. What a client sent under these names is
// removed.
func (g *Gate) Wrap(next http.Handler, fields []Field) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, field := range fields {
			delete(r.Header, field.Name)
			delete(r.Trailer, field.Name)
		}
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			switch {
			case !g.require:
				next.ServeHTTP(w, r)
			case r.TLS == nil:
				exchange.Refuse(w, r, errPlain)
			default:
				misdirect(w, r, errNone)
			}
			return
		}
		if !g.stillGood(r.TLS.VerifiedChains) {
			misdirect(w, r, errStale)
			return
		}
		leaf := r.TLS.VerifiedChains[0][0]
		if x := exchange.Of(r); x.User == "" {
			x.User = cmp.Or(printable(leaf.Subject.CommonName), Fingerprint.of(leaf))
		}
		for _, field := range fields {
			if value := field.What.of(leaf); value != "" {
				r.Header[field.Name] = []string{value}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// misdirect refuses a request for which another connection is needed, and ends
// this one in good order.
func misdirect(w http.ResponseWriter, r *http.Request, err error) {
	if r.ProtoMajor < 3 {
		w.Header()["Connection"] = []string{"close"} // over HTTP/2: GOAWAY
	}
	exchange.Refuse(w, r, err)
}

// stillGood reports whether one of the chains that were verified when the
// connection was opened would be now.
func (g *Gate) stillGood(chains [][]*x509.Certificate) bool {
	authorities, now := g.now(), time.Now()
	return slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool {
		for _, certificate := range chain {
			if now.After(certificate.NotAfter) {
				return false
			}
		}
		return authorities.trusts(chain[len(chain)-1])
	})
}

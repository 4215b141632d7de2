package header

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// SecurityOptions shape [Security]. An empty text leaves the field out.
type SecurityOptions struct {
	// HSTS is for how long browsers may use only HTTPS (RFC 6797); zero leaves
	// the field out.
	HSTS time.Duration

	// Subdomains extends that to all names below, Preload asks to be put on the
	// lists that browsers come with.
	Subdomains, Preload bool

	// NoSniff has browsers believe the Content-Type.
	NoSniff bool

	// Frames says who may show the pages in a frame: "none", "self", or sources
	// of the Content-Security-Policy's frame-ancestors.
	Frames string

	// ReferrerPolicy, PermissionsPolicy and the others are the fields of these
	// names; OpenerPolicy, EmbedderPolicy and ResourcePolicy are the
	// Cross-Origin ones.
	ReferrerPolicy, PermissionsPolicy, ContentPolicy string
	OpenerPolicy, EmbedderPolicy, ResourcePolicy     string

	// Override replaces what the application set itself.
	Override bool
}

// Security adds the fields by which a browser protects the visitors of a site.
// What the application set itself stays, unless Override says otherwise.
//
// Strict-Transport-Security goes out over TLS only (RFC 6797 section 7.2), and
// not for localhost, names below it, and addresses: there it would switch off
// everything else that is served on the machine without TLS.
func Security(o SecurityOptions) func(http.Handler) http.Handler {
	s := newSecurity(o)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			exchange.Of(r).OnHead(s)
			next.ServeHTTP(w, r)
		})
	}
}

type security struct {
	fields    []entry  // those that stand alone
	transport []string // Strict-Transport-Security
	ancestors []string // Content-Security-Policy: frame-ancestors
	frames    []string // X-Frame-Options, for browsers that do not know the above
	override  bool
}

func newSecurity(o SecurityOptions) *security {
	s := &security{override: o.Override}
	if o.HSTS > 0 {
		value := fmt.Sprintf("max-age=%d", int64(o.HSTS/time.Second))
		if o.Subdomains {
			value += "; includeSubDomains"
		}
		if o.Preload {
			value += "; preload"
		}
		s.transport = []string{value}
	}
	switch o.Frames {
	case "":
	case "none":
		s.ancestors, s.frames = []string{"frame-ancestors 'none'"}, []string{"DENY"}
	case "self":
		s.ancestors, s.frames = []string{"frame-ancestors 'self'"}, []string{"SAMEORIGIN"}
	default:
		s.ancestors = []string{"frame-ancestors " + o.Frames} // X-Frame-Options cannot say this
	}
	noSniff := ""
	if o.NoSniff {
		noSniff = "nosniff"
	}
	for _, f := range []Field{
		{Name: "X-Content-Type-Options", Value: noSniff},
		{Name: "Referrer-Policy", Value: o.ReferrerPolicy},
		{Name: "Permissions-Policy", Value: o.PermissionsPolicy},
		{Name: "Content-Security-Policy", Value: o.ContentPolicy},
		{Name: "Cross-Origin-Opener-Policy", Value: o.OpenerPolicy},
		{Name: "Cross-Origin-Embedder-Policy", Value: o.EmbedderPolicy},
		{Name: "Cross-Origin-Resource-Policy", Value: o.ResourcePolicy},
	} {
		if f.Value != "" {
			s.fields = append(s.fields, entry{name: f.Name, constant: []string{f.Value}})
		}
	}
	return s
}

// Head implements [exchange.HeadHook].
func (s *security) Head(r *http.Request, _ int, h http.Header) {
	framed := len(h["X-Frame-Options"]) > 0 || frameAncestors(h["Content-Security-Policy"])
	for i := range s.fields {
		f := &s.fields[i]
		if s.override || len(h[f.name]) == 0 {
			h[f.name] = f.constant
		}
	}
	if s.transport != nil && exchange.Of(r).Secure && !local(r.Host) && (s.override || len(h["Strict-Transport-Security"]) == 0) {
		h["Strict-Transport-Security"] = s.transport
	}
	if s.ancestors == nil || framed && !s.override {
		return
	}
	delete(h, "X-Frame-Options")
	if s.frames != nil {
		h["X-Frame-Options"] = s.frames
	}
	if s.override && framed {
		// Policies add up, each forbids for itself: the application's
		// frame-ancestors has to go for ours to allow more than it.
		h["Content-Security-Policy"] = withoutAncestors(h["Content-Security-Policy"])
	}
	have := h["Content-Security-Policy"]
	if len(have) == 0 {
		h["Content-Security-Policy"] = s.ancestors
		return
	}
	h["Content-Security-Policy"] = append(have[:len(have):len(have)], s.ancestors...)
}

// frameAncestors reports whether one of the policies has the directive.
func frameAncestors(policies []string) bool {
	for _, policy := range policies {
		for directive := range strings.FieldsFuncSeq(policy, func(c rune) bool { return c == ';' || c == ',' }) {
			if isAncestors(directive) {
				return true
			}
		}
	}
	return false
}

func isAncestors(directive string) bool {
	name, _, _ := strings.Cut(strings.TrimSpace(directive), " ")
	return strings.EqualFold(name, "frame-ancestors")
}

// withoutAncestors takes the directive out of each policy.
func withoutAncestors(policies []string) []string {
	var kept []string
	for _, list := range policies {
		for policy := range strings.SplitSeq(list, ",") {
			var directives []string
			for directive := range strings.SplitSeq(policy, ";") {
				if d := strings.TrimSpace(directive); d != "" && !isAncestors(d) {
					directives = append(directives, d)
				}
			}
			if len(directives) > 0 {
				kept = append(kept, strings.Join(directives, "; "))
			}
		}
	}
	return kept
}

// local reports whether a Host is a name or address of this machine's own
// network, for which HSTS does harm (localhost) or means nothing (addresses,
// RFC 6797 section 8.1.1).
func local(host string) bool {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	host = strings.TrimSuffix(host, ".")
	const name = "localhost"
	if n := len(host) - len(name); n >= 0 && strings.EqualFold(host[n:], name) && (n == 0 || host[n-1] == '.') {
		return true
	}
	if host == "" || host[0] != '[' && (host[len(host)-1] < '0' || host[len(host)-1] > '9') {
		return false // an address ends in a digit
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

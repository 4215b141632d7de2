package header

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// CORSOptions shape [NewCORS].
type CORSOptions struct {
	// Origins are who may read the responses: "https://app.example.com"
	// exactly, with a port unless it is the scheme's own;
	// "https://*.example.com" for each name with one more label; or "*" for
	// everybody, which excludes Credentials.
	Origins []string

	// Methods that other origins may use besides GET, HEAD and POST, which
	// need no leave. "*" is every method.
	Methods []string

	// Headers that their scripts may send besides the harmless ones; "*" is
	// every one but Authorization, which has to be named.
	Headers []string

	// Expose are the fields of responses that their scripts may see.
	Expose []string

	// Credentials allows requests with cookies and client certificates.
	Credentials bool

	// MaxAge is how long browsers may remember a preflight. Zero leaves it to
	// them (5 seconds); negative forbids it.
	MaxAge time.Duration
}

// CORS lets pages of other origins read responses, by the Fetch standard's
// protocol (section 3.2). It answers preflights itself, so the application need
// not know of OPTIONS nor have a preflight, which bears no credentials, pass
// its authentication. What the application says about sharing is replaced: two
// answers to one question are an error to every browser.
type CORS struct {
	any         bool
	exact       map[string]bool
	wildcard    []wildcard
	methods     []string
	headers     []string
	expose      []string
	maxAge      []string
	credentials bool
}

// wildcard is an origin with one label left open.
type wildcard struct{ before, after string }

var errOrigin = &exchange.Refusal{
	Status: http.StatusForbidden, Label: "cors_origin",
	Reason: "the origin may not make such requests here", Hint: "cors.origins lists who may",
}

// NewCORS checks the options and returns what they say.
func NewCORS(o CORSOptions) (*CORS, error) {
	c := &CORS{exact: make(map[string]bool), credentials: o.Credentials}
	if len(o.Origins) == 0 {
		return nil, errors.New("there is no origin")
	}
	for _, origin := range o.Origins {
		if err := c.addOrigin(origin); err != nil {
			return nil, err
		}
	}
	for _, list := range [][]string{o.Methods, o.Headers, o.Expose} {
		for _, name := range list {
			if name == "*" && o.Credentials {
				return nil, errors.New(`"*" means nothing where credentials are allowed`)
			}
			if name == "" || strings.ContainsFunc(name, notToken) {
				return nil, fmt.Errorf("%q is neither a method nor a field", name)
			}
		}
	}
	c.methods, c.headers, c.expose = joined(o.Methods), joined(o.Headers), joined(o.Expose)
	if o.MaxAge != 0 {
		c.maxAge = []string{strconv.FormatInt(max(int64(o.MaxAge/time.Second), -1), 10)}
	}
	return c, nil
}

func joined(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return []string{strings.Join(list, ", ")}
}

// addOrigin takes one origin in.
func (c *CORS) addOrigin(origin string) error {
	switch {
	case origin == "*" && c.credentials:
		return errors.New("credentials cannot be allowed to every origin")
	case origin == "*":
		c.any = true
		return nil
	case origin == "null":
		return errors.New(`"null" is no origin: every sandboxed document has it, whoever made it`)
	}
	before, after, open := strings.Cut(origin, "*.")
	u, err := url.Parse(before + after)
	if err != nil || u.Host == "" || u.Scheme == "" || u.Scheme+"://"+u.Host != before+after || u.User != nil || strings.ContainsAny(u.Host, "*") {
		return fmt.Errorf("%q is not an origin", origin)
	}
	if open && before != u.Scheme+"://" {
		return fmt.Errorf("%q has its wildcard not at the beginning of the name", origin)
	}
	if origin != strings.ToLower(origin) {
		return fmt.Errorf("%q is not in lower case, as browsers send it", origin)
	}
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		return fmt.Errorf("%q has its scheme's own port, which browsers leave out", origin)
	}
	if open {
		c.wildcard = append(c.wildcard, wildcard{before, "." + after})
	} else {
		c.exact[origin] = true
	}
	return nil
}

// allows reports whether an origin may read responses.
func (c *CORS) allows(origin string) bool {
	if c.any || c.exact[origin] {
		return true
	}
	for _, w := range c.wildcard {
		rest, ok := strings.CutPrefix(origin, w.before)
		if !ok {
			continue
		}
		if label, ok := strings.CutSuffix(rest, w.after); ok && label != "" && !strings.ContainsFunc(label, notLabel) {
			return true
		}
	}
	return false
}

func notLabel(c rune) bool {
	return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
}

// Wrap answers preflights and marks the other responses.
func (c *CORS) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		exchange.Of(r).OnHead((*share)(c))
		if r.Method == http.MethodOptions && len(r.Header["Origin"]) == 1 && len(r.Header["Access-Control-Request-Method"]) == 1 {
			c.preflight(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// preflight answers the question whether a request may be made. share adds who
// may read the answer.
func (c *CORS) preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Vary"] = append(h["Vary"], "Access-Control-Request-Method, Access-Control-Request-Headers")
	if !c.allows(r.Header["Origin"][0]) {
		exchange.Refuse(w, r, errOrigin)
		return
	}
	if c.methods != nil {
		h["Access-Control-Allow-Methods"] = c.methods
	}
	if c.headers != nil {
		h["Access-Control-Allow-Headers"] = c.headers
	}
	if c.maxAge != nil {
		h["Access-Control-Max-Age"] = c.maxAge
	}
	w.WriteHeader(http.StatusNoContent)
}

// share is CORS as a hook.
type share CORS

// Head implements [exchange.HeadHook].
func (s *share) Head(r *http.Request, _ int, h http.Header) {
	delete(h, "Access-Control-Allow-Origin")
	delete(h, "Access-Control-Allow-Credentials")
	delete(h, "Access-Control-Expose-Headers")
	if s.any {
		h["Access-Control-Allow-Origin"] = []string{"*"}
		if s.expose != nil {
			h["Access-Control-Expose-Headers"] = s.expose
		}
		return
	}
	// Also where there is no Origin: a cache must not give that response to
	// somebody who has one.
	addVary(h, "Origin")
	origin := r.Header["Origin"]
	if len(origin) != 1 || !(*CORS)(s).allows(origin[0]) {
		return
	}
	h["Access-Control-Allow-Origin"] = origin[:1:1]
	if s.credentials {
		h["Access-Control-Allow-Credentials"] = []string{"true"}
	}
	if s.expose != nil {
		h["Access-Control-Expose-Headers"] = s.expose
	}
}

// addVary adds a name to Vary unless it is there (RFC 9110 section 12.5.5).
func addVary(h http.Header, name string) {
	have := h["Vary"]
	for _, list := range have {
		for member := range strings.SplitSeq(list, ",") {
			if member = strings.TrimSpace(member); member == "*" || strings.EqualFold(member, name) {
				return
			}
		}
	}
	h["Vary"] = append(have[:len(have):len(have)], name)
}

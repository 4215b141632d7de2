package proxy

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/explain"
	"github.com/sallyport/sallyport/proxy/failure"
	"github.com/sallyport/sallyport/proxy/routing"
)

// This file answers `sallyport explain`. The request of the question goes
// through the same code as one that comes over a connection, up to the action,
// which is described and not done: nothing is sent anywhere, logged or counted.

// Explain says what would become of a request. With a nil generation, the one
// that is serving answers, and the state of its servers is in the answer; one
// that was only prepared knows no states. A question that is none is an
// [explain.Error]; a request that would be refused is an answer.
func (p *Proxy) Explain(g *Generation, q explain.Question) (*explain.Answer, error) {
	live := g == nil
	if live {
		g = p.current.Load()
	}
	if g == nil {
		return nil, failure.ErrStarting
	}
	original, err := q.Request()
	if err != nil {
		return nil, err
	}
	if q.Secure() {
		original.TLS = serverName(q.Hostname())
	}
	// A proxy of its own: what it sees stays out of logs and counts.
	shadow := New(Options{Logger: zap.NewNop(), Roots: p.options.Roots, HTTPSPort: p.options.HTTPSPort, Overloaded: p.options.Overloaded})
	shadow.current.Store(g)
	e := &explainer{proxy: shadow, generation: g, live: live, question: q, answer: &explain.Answer{Method: original.Method, URL: q.URL, Online: live}}
	e.explain(original)
	return e.answer, nil
}

// explainer answers one question.
type explainer struct {
	proxy      *Proxy
	generation *Generation
	live       bool
	question   explain.Question
	answer     *explain.Answer
}

func (e *explainer) explain(original *http.Request) {
	w, r := e.proxy.open(newNowhere(), original)
	s, err := e.proxy.enter(w, r)
	e.client(&w.Exchange)
	if s == nil && e.unknown(err) {
		return
	}
	if s != nil {
		e.site(s)
	}
	if err != nil {
		e.refuse(err)
		return
	}
	x := &w.Exchange
	found, err := s.find(x, r)
	e.routes(s, found, x, r)
	if err != nil {
		e.refuse(err)
		if errors.Is(err, routing.ErrAmbiguous) {
			e.readings(s, x, r)
		}
		return
	}
	if !x.Secure && found.overPlain != plainServe {
		if found.overPlain == plainRefuse {
			e.refuse(errPlainHTTP)
			return
		}
		out := newNowhere()
		redirectToTLS(out, r, e.httpsPort())
		e.answer.Action = &explain.Action{Kind: "redirect", Text: out.header.Get("Location"), Status: out.status}
		e.answer.Note("this is over plain HTTP, which is redirected to HTTPS", "ask about "+out.header.Get("Location")+"; `http: serve` of the site or route would serve it")
		return
	}
	e.route(s, found, x, r)
}

func (e *explainer) httpsPort() string {
	if n := e.proxy.options.HTTPSPort; n != 0 && n != 443 {
		return ":" + strconv.Itoa(n)
	}
	return ""
}

// client says who asks.
func (e *explainer) client(x *exchange.Exchange) {
	e.answer.Client = x.Client.String()
	if peer := x.Peer.Addr().Unmap(); x.Client != peer {
		e.answer.Via = peer.String()
	} else if e.claims() && !e.generation.trust.Trusted(peer) {
		e.answer.Note("the connection comes from "+peer.String()+", which is not in trusted_proxies: what it says about the client is not believed",
			"if "+peer.String()+" is your proxy, add it to trusted_proxies")
	}
}

// claims reports whether the question's headers name a client.
func (e *explainer) claims() bool {
	return slices.ContainsFunc(e.question.Headers, func(line string) bool {
		name, _, _ := strings.Cut(line, ":")
		switch http.CanonicalHeaderKey(strings.TrimSpace(name)) {
		case "X-Forwarded-For", "Forwarded", cloudflareClient:
			return true
		}
		return false
	})
}

// unknown explains a host that no site has, and reports whether that is the
// case.
func (e *explainer) unknown(err error) bool {
	if !errors.Is(err, routing.ErrUnknown) && !errors.Is(err, routing.ErrMisdirected) {
		return false
	}
	host := e.question.Hostname()
	var buf routing.HostBuffer
	name, ok := routing.Host(&buf, hostOf(host))
	if ok && e.generation.hosts.Find(name) != nil {
		return false // the name of the handshake is known: it is the Host that is not
	}
	refusal := &explain.Refusal{Status: http.StatusNotFound, Label: routing.ErrUnknown.Label, Reason: "no site has the name " + host}
	if e.question.Secure() {
		refusal.Status = 0
		refusal.Reason += ": the handshake ends with the alert unrecognized_name"
	}
	refusal.Hint = e.nameHint(host)
	e.answer.Refused = refusal
	return true
}

// hostOf writes a host as a Host field has it.
func hostOf(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// nameHint says which name may have been meant.
func (e *explainer) nameHint(host string) string {
	for _, site := range e.generation.cfg.Sites {
		for _, name := range site.Names() {
			base, wild := strings.CutPrefix(name, "*.")
			switch {
			case wild && host == base:
				return name + " stands for one label before " + base + ", not for " + base + " itself: add that to the site's aliases"
			case wild && strings.HasSuffix(host, "."+base):
				return name + " stands for exactly one label: add a site or an alias for " + host
			case host == "www."+name || "www."+host == name:
				return "there is a site " + name + ": add " + host + " to its aliases"
			}
		}
	}
	if near := e.generation.cfg.Nearest(host); near != "" {
		return "did you mean " + near + "?"
	}
	return "add a site, or add the name to a site's aliases"
}

func (e *explainer) refuse(err error) {
	refusal := &explain.Refusal{Status: http.StatusInternalServerError, Label: "internal", Reason: err.Error()}
	if own, ok := errors.AsType[*exchange.Refusal](err); ok {
		*refusal = explain.Refusal{Status: own.Status, Label: own.Label, Reason: own.Reason, Hint: own.Hint}
	}
	if errors.Is(err, routing.ErrMisdirected) {
		refusal.Hint = "the Host of the request and the name of the handshake belong to different sites: clients send both alike"
	}
	e.answer.Refused = refusal
}

// at returns the place of a path of the configuration.
func (e *explainer) at(path string) string {
	return e.generation.cfg.Problem(path, "", "").Position.String()
}

func (e *explainer) site(s *site) {
	e.answer.Site = s.name
	e.answer.SitePlace = e.at("sites[" + s.name + "]")
}

// entry is the site's in the configuration.
func (e *explainer) entry(s *site) *config.Site {
	sites := e.generation.cfg.Sites
	return &sites[slices.IndexFunc(sites, func(one config.Site) bool { return one.Name == s.name })]
}

// routes says of each route, up to the one taken, why it was not.
func (e *explainer) routes(s *site, found *route, x *exchange.Exchange, r *http.Request) {
	places := e.entry(s).Places()
	path := s.match.Paths(r)[0]
	for i, one := range s.routes {
		shown := explain.Route{Name: cmp.Or(one.name, "the only one"), Place: e.at(places[i].Path), Taken: one == found}
		if !shown.Taken {
			shown.Why = e.whyNot(s.match.Why(i, x, r, path), places[i].Path)
		}
		e.answer.Routes = append(e.answer.Routes, shown)
		if shown.Taken {
			e.shadowed(s, places, i, x, r, path)
			break
		}
	}
}

// shadowed notes a later route whose conditions hold too and say more.
func (e *explainer) shadowed(s *site, places []config.Place, taken int, x *exchange.Exchange, r *http.Request, path string) {
	for i := taken + 1; i < len(s.routes); i++ {
		if s.match.Takes(i, x, r, path) && s.match.Narrower(i, taken) {
			e.answer.Note("the route "+s.routes[i].name+" ("+e.at(places[i].Path)+") is for this request too, and comes later: the first match wins", "put the narrower route first")
			return
		}
	}
}

// whyNot adds its place to the first condition that failed. There is none if
// only another reading of the path leads to the route.
func (e *explainer) whyNot(failed routing.Unmet, at string) string {
	if failed.Key == "" {
		return ""
	}
	return failed.Why + " (" + e.at(at+"."+failed.Key) + ")"
}

// readings lists where each reading of the path leads.
func (e *explainer) readings(s *site, x *exchange.Exchange, r *http.Request) {
	for _, path := range s.match.Paths(r) {
		name := ""
		if i := s.match.Choose(x, r, path); i >= 0 {
			name = cmp.Or(s.routes[i].name, "the only one")
		}
		e.answer.Readings = append(e.answer.Readings, explain.Reading{Path: path, Route: name})
	}
}

// route explains what the route that is taken does.
func (e *explainer) route(s *site, found *route, x *exchange.Exchange, r *http.Request) {
	entry := e.entry(s)
	place := entry.Places()[slices.Index(s.routes, found)]
	b := &routeBuilder{proxy: e.proxy, next: e.generation, cfg: e.generation.cfg, site: entry, clients: s.clients, place: place}
	for _, name := range found.steps {
		e.answer.Middleware = append(e.answer.Middleware, explain.Step{Name: name, Place: e.at(b.where(b.key(name)))})
	}
	e.closed(b, x, r)
	if err := passes(b.access(), x, r, newNowhere(), nil); err != nil && e.answer.Refused == nil {
		e.verdict("allow, deny", fmt.Sprintf("refuses the client %s with 403", x.Client))
		e.refuse(err)
		e.answer.Refused.Hint = "allow and deny decide; if " + x.Client.String() + " is a proxy in front, list it in trusted_proxies"
	}
	action := r
	if err := passes(b.rewriting(), x, r, newNowhere(), func(out *http.Request) { action = out }); err != nil {
		e.verdict("rewrite", "refuses the request with 400")
		e.refuse(err)
		return
	}
	e.answer.Target = action.RequestURI
	if prefix := strings.TrimSuffix(place.StripPrefix, "/"); prefix != "" && action.RequestURI == r.RequestURI && place.AddPrefix == "" {
		e.answer.Note("strip_prefix "+prefix+" is not how the path begins, which stays as it is", "strip_prefix is a path without host, such as the path of the route")
	}
	e.action(b, x, action)
}

// verdict says what a step makes of the request.
func (e *explainer) verdict(step, text string) {
	for i := range e.answer.Middleware {
		if e.answer.Middleware[i].Name == step {
			e.answer.Middleware[i].Verdict = text
		}
	}
}

// key is the key of the configuration that a stage stands for: of several the
// first that is set.
func (b *routeBuilder) key(stage string) string {
	keys := strings.Split(strings.TrimSuffix(stage, " by user"), ", ")
	if stage == "rewrite" {
		keys = []string{"strip_prefix", "rewrite", "rewrite_regexp", "add_prefix"}
	}
	for _, key := range keys {
		if b.cfg.Has(b.place.Path+"."+key) || b.cfg.Has(b.site.Path()+"."+key) {
			return key
		}
	}
	return keys[0]
}

// passes sends a request through one middleware, nil for none, and returns what
// it was refused with. out gets what it answers; next, which may be nil, what
// comes through.
func passes(wrap func(http.Handler) http.Handler, x *exchange.Exchange, r *http.Request, out *nowhere, next func(*http.Request)) error {
	if wrap == nil {
		return nil
	}
	outer := x.Refuser
	catch := new(refused)
	x.Refuser = catch
	defer func() { x.Refuser = outer }()
	last := http.HandlerFunc(func(_ http.ResponseWriter, through *http.Request) {
		if next != nil {
			next(through)
		}
	})
	wrap(last).ServeHTTP(out, r)
	return catch.err
}

// nowhere is a writer for answers that nobody gets.
type nowhere struct {
	header http.Header
	status int
}

func newNowhere() *nowhere { return &nowhere{header: make(http.Header)} }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(status int)      { n.status = status }

// refused takes what a handler refuses a request with.
type refused struct{ err error }

// Refuse implements [exchange.Refuser].
func (f *refused) Refuse(_ http.ResponseWriter, _ *http.Request, err error) { f.err = err }

// serverName is what a handshake tells of the name that the client asked for.
// Addresses are not sent (RFC 6066 section 3).
func serverName(host string) *tls.ConnectionState {
	state := &tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS13}
	if _, err := netip.ParseAddr(host); err != nil {
		state.ServerName = host
	}
	return state
}

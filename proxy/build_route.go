package proxy

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/failure"
	"github.com/sallyport/sallyport/proxy/middleware/placeholder"
	"github.com/sallyport/sallyport/proxy/middleware/reply"
	"github.com/sallyport/sallyport/proxy/middleware/rewrite"
	"github.com/sallyport/sallyport/proxy/routing"
	"github.com/sallyport/sallyport/proxy/target"
)

// stage is one concern of a route's chain. build returns nil where the route
// has nothing configured, and then the concern costs nothing.
type stage struct {
	name  string // the keys of the configuration, as `explain` prints them
	build func(*routeBuilder) func(http.Handler) http.Handler
}

// stages returns the concerns in the order in which a request meets them. It is
// fixed, whatever the order of keys in the file: what refuses stands before
// what works, and what only looks at the client before what looks at the
// request. Hooks on the head of the response are registered first, so that they
// hold for every answer, refusals included.
func stages() []stage {
	return []stage{
		// Of every answer of the route, refusals and pages included.
		{"response_headers", (*routeBuilder).responseHeaders},
		{"security_headers", (*routeBuilder).securityHeaders},
		{"cors", (*routeBuilder).cors},
		{"cookies", (*routeBuilder).cookies},

		// Pages.
		{"errors", (*routeBuilder).errors},
		{"maintenance", (*routeBuilder).maintenance},

		// How much.
		{"max_connections", (*routeBuilder).maxConnections},
		{"rate_limit", (*routeBuilder).rateLimit},

		// Who.
		{"allow, deny", (*routeBuilder).access},
		{"client_auth", (*routeBuilder).clientCertificate},
		{"basic_auth", (*routeBuilder).basicAuth},
		{"jwt", (*routeBuilder).token},
		{"forward_auth", (*routeBuilder).forwardAuth},

		// What.
		{"rate_limit by user", (*routeBuilder).userRateLimit},
		{"max_body", (*routeBuilder).maxBody},
		{"request_timeout", (*routeBuilder).requestTimeout},
		{"rewrite", (*routeBuilder).rewriting},
		{"request_headers", (*routeBuilder).requestHeaders},

		// The answer's content.
		{"compress", (*routeBuilder).compress},
		{"cache", (*routeBuilder).cache},

		// On the way to the action.
		{"mirror", (*routeBuilder).mirror},
		{"buffer_request", (*routeBuilder).bufferRequest},
	}
}

// routeBuilder builds one route, or the only action of a site.
type routeBuilder struct {
	proxy    *Proxy
	next     *Generation
	cfg      *config.Config
	site     *config.Site
	clients  *clientPolicy // what the site asks of its clients, nil for nothing
	place    config.Place  // with the handling that holds for it
	problems config.Problems
}

// fail notes what is wrong with a key. The place is that of the route's own
// key or, if the route inherits it, of the site's. An error may know a hint.
func (b *routeBuilder) fail(key string, err error) {
	path := b.where(key)
	hint := ""
	if knows, ok := err.(interface{ Hint() string }); ok {
		hint = knows.Hint()
	}
	b.problems = append(b.problems, b.cfg.Problem(path, path+" "+err.Error(), hint))
}

// where is the path of a key that the route has or inherits.
func (b *routeBuilder) where(key string) string {
	path := b.place.Path + "." + key
	if inherited := b.site.Path() + "." + key; !b.cfg.Has(path) && b.cfg.Has(inherited) {
		return inherited
	}
	return path
}

// template reads a text with placeholders, nil if it is none.
func (b *routeBuilder) template(key, text string) *placeholder.Template {
	t, err := placeholder.Parse(text)
	if err != nil {
		b.fail(key, err)
		return nil
	}
	return t
}

// routes builds what a site serves.
func (p *Proxy) routes(next *Generation, cfg *config.Config, entry *config.Site) (*site, config.Problems) {
	s := &site{name: entry.Name, merge: entry.MergeSlashes}
	var problems config.Problems
	s.clients, problems = p.clientsOf(next, cfg, entry)
	own := &routeBuilder{proxy: p, next: next, cfg: cfg, site: entry, place: config.Place{Path: entry.Path(), Route: config.Route{Handling: entry.Handling}}}
	if made := own.pages(); made != nil {
		s.pages = made
	}
	s.log = own.accessLog()
	problems = append(problems, own.problems...)
	var rules []routing.Rule
	taken := make(map[string]bool)
	for i, place := range entry.Places() {
		b := &routeBuilder{proxy: p, next: next, cfg: cfg, site: entry, clients: s.clients, place: place}
		rule, one := b.build()
		problems = append(problems, b.problems...)
		if len(entry.Routes) > 0 {
			one.name = routeName(&place, i, taken)
		}
		rules = append(rules, rule)
		s.add(one)
	}
	s.match = routing.NewRoutes(rules, habitsOf(entry))
	return s, problems
}

// habitsOf is how the application of a site reads paths.
func habitsOf(entry *config.Site) target.Habits {
	habits := map[string]target.Habit{"keep": target.Keep, "strip": target.Special, "decode": target.Special}
	return target.Habits{Parameters: habits[entry.PathParameters], Slashes: habits[entry.EncodedSlashes]}
}

// routeName is what a route is called in logs: its paths and, if another is
// called the same, its number.
func routeName(place *config.Place, i int, taken map[string]bool) string {
	name := strings.Join(place.Conditions.Path, " ")
	if name == "" {
		name = place.PathRegexp
	}
	if name == "" || taken[name] {
		name = strings.TrimSpace(fmt.Sprintf("%s routes[%d]", name, i))
	}
	taken[name] = true
	return name
}

// build makes the route: its conditions, and its action behind the chain.
func (b *routeBuilder) build() (routing.Rule, *route) {
	rule := routing.Rule{Match: b.conditions(&b.place.Conditions)}
	if b.place.Not != nil {
		not := b.conditions(b.place.Not)
		rule.Not = &not
	}
	one := &route{log: b.accessLog()}
	switch b.place.HTTP {
	case "serve":
		one.overPlain = plainServe
	case "refuse":
		one.overPlain = plainRefuse
	}
	one.handler = b.action()
	chain := stages()
	for _, each := range slices.Backward(chain) {
		if each.build == nil {
			continue
		}
		if wrap := each.build(b); wrap != nil {
			one.handler = wrap(one.handler)
			one.steps = append(one.steps, each.name)
		}
	}
	slices.Reverse(one.steps)
	return rule, one
}

// action makes what answers.
func (b *routeBuilder) action() http.Handler {
	switch {
	case b.place.Proxy != "":
		return b.forward()
	case b.place.Redirect != nil:
		return b.redirect()
	case b.place.Respond != nil:
		return b.respond()
	case b.place.Files != nil:
		return b.files()
	case b.place.PHP != nil:
		return b.php()
	}
	return http.NotFoundHandler() // validation lets no such route through
}

func (b *routeBuilder) forward() http.Handler {
	to := b.place.Proxy
	at := failure.Origin{Site: b.site.Name, Upstream: to}
	if b.cfg.Upstream(to).Name == "" {
		at = failure.Origin{Site: b.site.Name, Server: to}
	}
	pool, err := b.proxy.pool(b.next, b.cfg, to)
	if err != nil {
		b.problems = append(b.problems, poolProblem(b.cfg, b.place.Path, to, err))
		return nil
	}
	return &forward{proxy: b.proxy, to: pool, tunnels: &pool.tunnels, silence: b.cfg.Limits.UpgradedIdleTimeout, at: at,
		host: b.place.Host, upgrades: b.place.Upgrade, patience: b.place.ResponseTimeout}
}

func (b *routeBuilder) redirect() http.Handler {
	to := b.template("redirect", b.place.Redirect.To)
	if to == nil {
		return nil
	}
	h, err := reply.Redirect(reply.RedirectOptions{To: to, Status: b.place.Redirect.Status})
	if err != nil {
		b.fail("redirect", err)
		return nil
	}
	return answering(h)
}

// answering makes an action that answers without reading the body one that
// does not wait for it either.
func answering(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaveBody(w, r)
		h.ServeHTTP(w, r)
	})
}

func (b *routeBuilder) respond() http.Handler {
	from := b.place.Respond
	o := reply.RespondOptions{Status: from.Status, Body: b.template("respond.body", from.Body)}
	for _, field := range from.Headers {
		if value := b.template("respond.headers["+field.Name+"]", field.Value); value != nil {
			o.Header = append(o.Header, reply.Field{Name: http.CanonicalHeaderKey(field.Name), Value: value})
		}
	}
	return answering(reply.Respond(o))
}

// rewriting changes the target that the action gets.
func (b *routeBuilder) rewriting() func(http.Handler) http.Handler {
	h := &b.place.Handling
	o := rewrite.Options{
		StripPrefix: strings.TrimSuffix(h.StripPrefix, "/"),
		AddPrefix:   strings.TrimSuffix(h.AddPrefix, "/"),
		Merge:       b.site.MergeSlashes,
	}
	if h.Rewrite != "" {
		o.To = b.template("rewrite", h.Rewrite)
	}
	if r := h.RewriteRegexp; r != nil {
		o.Match = b.regexp("rewrite_regexp.match", r.Match)
		o.To = b.template("rewrite_regexp.replace", r.Replace)
	}
	if len(b.problems) > 0 {
		return nil
	}
	wrap, err := rewrite.New(o)
	if err != nil {
		key := "rewrite"
		if h.RewriteRegexp != nil {
			key = "rewrite_regexp.replace"
		}
		b.fail(key, err)
		return nil
	}
	return wrap
}

// conditions makes those of a route. Validation found them good.
func (b *routeBuilder) conditions(from *config.Conditions) routing.Conditions {
	c := routing.Conditions{Methods: from.Methods, Networks: config.Networks(from.ClientIP)}
	for _, text := range from.Path {
		c.Paths = append(c.Paths, routing.NewPattern(text))
	}
	if from.PathRegexp != "" {
		c.Regexp = b.regexp("path_regexp", from.PathRegexp)
	}
	for _, field := range from.Headers {
		c.Headers = append(c.Headers, b.wanted("headers", http.CanonicalHeaderKey(field.Name), field.Value))
	}
	for _, parameter := range from.Query {
		c.Query = append(c.Query, b.wanted("query", parameter.Name, parameter.Value))
	}
	return c
}

// wanted is the condition that the text of a value stands for.
func (b *routeBuilder) wanted(key, name, text string) routing.Value {
	m := routing.Value{Name: name, Text: text, Any: text == "*"}
	if expression, ok := strings.CutPrefix(text, "~"); ok {
		m.Regexp = b.regexp(key, expression)
	}
	return m
}

// regexp compiles a regular expression. Its dot stands for a line break too: a
// request could have one, encoded, to get past an expression.
func (b *routeBuilder) regexp(key, text string) *regexp.Regexp {
	r, err := regexp.Compile("(?s)" + text)
	if err != nil {
		b.fail(key, err)
	}
	return r
}

package routing

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/target"
)

func TestPatterns(t *testing.T) {
	for text, want := range map[string]struct{ yes, no string }{
		"/":             {"/ /a /a/b // *", ""},
		"/login":        {"/login", "/login/ /log /login/x /Login // *"},
		"/api/":         {"/api /api/ /api/x /api//x", "/apix /ap / /API/ *"},
		"/users/*":      {"/users/1 /users/*", "/users /users/ /users/1/ /users/1/x *"},
		"/users/*/":     {"/users/1 /users/1/ /users/1/x/y", "/users /users/ /users// /usersx/1"},
		"/u/*/photo/*/": {"/u/1/photo/2 /u/1/photo/2/x", "/u/1/photo /u/1/2/photo/3"},
		"/*/x":          {"/a/x /b/x", "//x /a/b/x /x"},
		"/a%2Fb/":       {"/a%2Fb/c /a%2Fb", "/a/b"},
	} {
		p := NewPattern(text)
		for path := range strings.FieldsSeq(want.yes) {
			if !p.match(path) {
				t.Errorf("%s does not match %s", text, path)
			}
		}
		for path := range strings.FieldsSeq(want.no) {
			if p.match(path) {
				t.Errorf("%s matches %s", text, path)
			}
		}
	}
}

// paths is the rule of a route with these paths.
func paths(texts ...string) Rule {
	var rule Rule
	for _, text := range texts {
		rule.Match.Paths = append(rule.Match.Paths, NewPattern(text))
	}
	return rule
}

// asked makes a request as it is when a route is looked for.
func asked(t testing.TB, method, uri string) (*exchange.Exchange, *http.Request) {
	t.Helper()
	r := httptest.NewRequest(method, uri, nil)
	x := exchange.New(r)
	if err := target.Settle(r, false); err != nil {
		t.Fatal(err)
	}
	return x, r
}

// With many routes the first segment narrows the choice. It must not change it.
func TestIndexOfManyRoutesChoosesTheSame(t *testing.T) {
	var rules []Rule
	for i := range 40 {
		var rule Rule
		switch i % 5 {
		case 0:
			rule = paths(fmt.Sprintf("/r%d/", i%7))
			rule.Match.Methods = []string{"POST"}
		case 1:
			rule = paths(fmt.Sprintf("/r%d/x", i%7), fmt.Sprintf("/s%d/", i%3))
		case 2:
			rule = paths(fmt.Sprintf("/*/y%d", i%4))
		case 3:
			rule.Match.Regexp = regexp.MustCompile(fmt.Sprintf("z%d", i))
		default:
			rule = paths(fmt.Sprintf("/r%d", i%7))
			rule.Match.Query = []Value{{Name: "i", Text: fmt.Sprint(i)}}
		}
		rules = append(rules, rule)
	}
	quick := NewRoutes(rules, target.Habits{})
	if quick.first == nil {
		t.Fatal("there is no index")
	}
	slow := *quick
	slow.first = nil
	seen := map[int]bool{}
	for i := range 8 {
		for _, shape := range []string{"/r%d", "/r%d/", "/r%d/x", "/s%d", "/s%d/q", "/other/y%d", "/r1/y%d", "/z%d", "/r2/z3%d", "/r%d?i=4", "/r%d?i=9"} {
			for _, method := range []string{"GET", "POST"} {
				x, r := asked(t, method, fmt.Sprintf(shape, i))
				got, _ := quick.Find(x, r)
				want, _ := slow.Find(x, r)
				seen[got] = true
				if got != want {
					t.Errorf("%s %s: route %d, want %d", method, r.RequestURI, got, want)
				}
			}
		}
	}
	if len(seen) < 12 {
		t.Errorf("only the routes %v were taken", seen)
	}
}

// What says why a route is not taken must not disagree with what decides.
func TestWhyNamesAConditionExactlyWhereTheRouteIsNotTaken(t *testing.T) {
	client := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // where httptest's requests come from
	elsewhere := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	header := func(m Value) Conditions { return Conditions{Headers: []Value{m}} }
	query := func(m Value) Conditions { return Conditions{Query: []Value{m}} }
	for _, c := range []struct {
		rule Rule
		key  string
		why  string // part of it
	}{
		{Rule{}, "", ""},
		{paths("/a"), "path", "/a/ is everything below it too"},
		{paths("/A/b"), "path", "with their case"},
		{paths("/a/b"), "", ""},
		{Rule{Match: Conditions{Methods: []string{"POST", "PUT"}}}, "methods", "GET is not POST, PUT"},
		{Rule{Match: Conditions{Networks: client}}, "", ""},
		{Rule{Match: Conditions{Networks: elsewhere}}, "client_ip", "192.0.2.1 is not in 10.0.0.0/8"},
		{Rule{Match: header(Value{Name: "X-Kind", Text: "a"})}, "", ""},
		{Rule{Match: header(Value{Name: "X-Kind", Text: "A"})}, "headers[X-Kind]", "differs in case"},
		{Rule{Match: header(Value{Name: "X-Kind", Text: "secret"})}, "headers[X-Kind]", "has another value"},
		{Rule{Match: header(Value{Name: "X-Kind", Regexp: regexp.MustCompile("^secret")})}, "headers[X-Kind]", "does not match"},
		{Rule{Match: header(Value{Name: "Cookie", Any: true})}, "headers[Cookie]", "is missing"},
		{Rule{Match: header(Value{Name: "Host", Text: "example.com"})}, "", ""},
		{Rule{Match: query(Value{Name: "v", Text: "2"})}, "", ""},
		{Rule{Match: query(Value{Name: "v", Text: "secret"})}, "query[v]", "has another value"},
		{Rule{Match: Conditions{Regexp: regexp.MustCompile("(?s)b$")}}, "", ""},
		{Rule{Match: Conditions{Regexp: regexp.MustCompile("(?s)c$")}}, "path_regexp", "/a/b does not match c$"},
		{Rule{Not: &Conditions{Methods: []string{"GET"}}}, "not", "holds"},
		{Rule{Not: &Conditions{Methods: []string{"POST"}}}, "", ""},
	} {
		routes := NewRoutes([]Rule{c.rule}, target.Habits{})
		x, r := asked(t, "GET", "/a/b?v=2")
		r.Header.Set("X-Kind", "a")
		got := routes.Why(0, x, r, routes.Paths(r)[0])
		if got.Key != c.key || !strings.Contains(got.Why, c.why) || strings.Contains(got.Why, "secret") {
			t.Errorf("%+v: %+v, want %q with %q", c.rule, got, c.key, c.why)
		}
		if i, _ := routes.Find(x, r); i >= 0 != (got == Unmet{}) {
			t.Errorf("%+v: the route is %d, and why it is not is %+v", c.rule, i, got)
		}
	}
}

func TestFindingARouteAllocatesNothing(t *testing.T) {
	routes := hundred()
	x, r := asked(t, "GET", "/service77/users/4711/photo?size=3")
	if allocs := testing.AllocsPerRun(100, func() {
		if err := target.Settle(r, false); err != nil {
			t.Fatal(err)
		}
		if found, err := routes.Find(x, r); err != nil || found != 77 {
			t.Fatal(found, err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func hundred() *Routes {
	var rules []Rule
	for i := range 100 {
		rules = append(rules, paths(fmt.Sprintf("/service%d/", i)))
	}
	return NewRoutes(rules, target.Habits{})
}

// ten are routes as a site with an API has them.
func ten() *Routes {
	with := func(rule Rule, c Conditions) Rule {
		c.Paths = rule.Match.Paths
		return Rule{Match: c}
	}
	return NewRoutes([]Rule{
		with(paths("/login"), Conditions{Methods: []string{"POST"}}),
		paths("/users/*/photo"),
		with(paths("/admin/"), Conditions{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}),
		paths("/static/"),
		paths("/api/v1/"),
		with(paths("/api/v2/"), Conditions{Headers: []Value{{Name: "X-Beta", Any: true}}}),
		with(paths("/api/v2/"), Conditions{Query: []Value{{Name: "beta", Text: "1"}}}),
		paths("/api/v2/"),
		paths("/health"),
		paths("/"),
	}, target.Habits{})
}

func BenchmarkRoutes(b *testing.B) {
	for _, c := range []struct {
		name   string
		routes *Routes
		uri    string
	}{
		{"one", NewRoutes(make([]Rule, 1), target.Habits{}), "/a/b/c"},
		{"ten/first", ten(), "/login"}, {"ten/eighth", ten(), "/api/v2/users/4711"}, {"ten/encoded", ten(), "/api/v2/%c3%a4"},
		{"hundred", hundred(), "/service99/users/4711"},
	} {
		b.Run(c.name, func(b *testing.B) {
			x, r := asked(b, "GET", c.uri)
			b.ReportAllocs()
			for b.Loop() {
				_ = target.Settle(r, false)
				_, _ = c.routes.Find(x, r)
			}
		})
	}
}

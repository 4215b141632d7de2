package proxy

import (
	"net/http"

	"github.com/sallyport/sallyport/proxy/accesslog"
	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/routing"
)

// site is what one entry of the configuration's sites became. It never changes
// after it was built.
type site struct {
	name    string
	routes  []*route
	match   *routing.Routes // which of them takes a request
	plain   bool            // some route is not redirected from plain HTTP
	merge   bool            // slashes in a row are one
	clients *clientPolicy   // what handshakes ask of clients, nil for nothing
	pages   exchange.Pages  // for failures before a route is found, nil for the plain one
	log     *accesslog.Log  // of requests that no route is for, nil for none
}

// route is one route of a site.
type route struct {
	name      string
	overPlain int // what happens over plain HTTP: one of the following
	handler   http.Handler
	log       *accesslog.Log // nil for none
	steps     []string       // the concerns that it has, for explain: names of stages, in order
}

// What a route does with a request over plain HTTP.
const (
	plainRedirect = iota
	plainServe
	plainRefuse
)

var errPlainHTTP = &exchange.Refusal{Status: http.StatusForbidden, Label: "plain_http", Reason: "this is served over HTTPS only"}

// Name implements [routing.Named].
func (s *site) Name() string { return s.name }

// add appends a route.
func (s *site) add(one *route) {
	s.routes = append(s.routes, one)
	s.plain = s.plain || one.overPlain != plainRedirect
}

// find returns the route of a request whose target is settled.
func (s *site) find(x *exchange.Exchange, r *http.Request) (*route, error) {
	i, err := s.match.Find(x, r)
	if err != nil {
		return nil, err
	}
	return s.routes[i], nil
}

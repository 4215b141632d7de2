// Package routing decides which site a request is for and which of the site's
// routes takes it. It decides and nothing else: what a site or a route is made
// of, and what it then does, is its caller's.
//
// [Host] is the one form of a host; [Hosts] finds a site by it, in constant
// time. [Routes] finds the first route whose [Conditions] hold, for every way in
// which an application could read the path, or refuses the request. Neither
// allocates for a request of the usual kind, and neither changes once it has
// been filled, so any number of goroutines may ask. [Routes.Why] and what stands
// beside it say in words why a route is not taken; the functions that decide are
// the ones that they ask.
//
// Paths come in the normal form of the package target. The package imports
// that, the exchange, and nothing else of the house.
//
//	hosts := routing.NewHosts[*site](1)
//	err := hosts.Add("a.example", s)
//	...
//	s, err := hosts.Of(r) // 400, 404 or 421 if it is an error
//	...
//	routes := routing.NewRoutes([]routing.Rule{
//		{Match: routing.Conditions{Paths: []routing.Pattern{routing.NewPattern("/api/")}}},
//		{}, // everything else
//	}, target.Habits{})
//	i, err := routes.Find(exchange.Of(r), r) // 0 for /api and all below it
package routing

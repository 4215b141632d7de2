// Package header changes the fields of requests and responses as a site or
// route asks: single fields ([Rules]), the usual security fields ([Security]),
// cross-origin sharing ([CORS]) and the flags of cookies ([Cookies]).
//
// Responses are changed by hooks of package exchange, so that the fields are
// on every answer: an application's, a cache's, and our own error pages. The
// package knows neither the configuration nor the proxy, has no state beyond
// its options, and starts nothing.
//
//	rules := header.Merge(ofSite, ofRoute)
//	handler = header.Response(rules)(handler)
package header

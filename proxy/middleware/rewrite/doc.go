// Package rewrite changes the target that a route's action gets: it takes a
// prefix off the path, replaces the path, and puts a prefix before it, in this
// order. The route was chosen by the target before, and is not chosen again.
//
// Nothing that a client can say makes a rewritten path leave the prefix it was
// given: a text from the request that makes a dot segment of a template is
// refused, and so is one that is not well-formed behind it (see
// [github.com/sallyport/sallyport/proxy/target]).
//
// The package imports exchange, target and placeholder of the house. It keeps
// no state.
//
//	wrap, err := rewrite.New(rewrite.Options{StripPrefix: "/api"})
//	handler = wrap(handler) // /api/users becomes /users, /api becomes /
package rewrite

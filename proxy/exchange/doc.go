// Package exchange is the record of one request and its answer: who asks, for
// what, which site and route took it, how it was refused, what was answered.
//
// The proxy makes one [Exchange] at the edge, before anything else, and puts it
// into the request's context. Middleware and actions read it with [Of], add to
// it (a user's name, a hook for the response's head), and refuse requests with
// [Refuse], so that every failure is classified, logged and answered in one
// place. The access log and the metrics read it when everything is over.
//
// One goroutine writes an Exchange: the handler's. Who needs a value on
// another goroutine copies it first.
//
// The package is a leaf: it imports nothing of the house, and everything in
// proxy may import it.
//
//	func Gate(next http.Handler) http.Handler {
//		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//			if !allowed(exchange.Of(r).Client) {
//				exchange.Refuse(w, r, errDenied)
//				return
//			}
//			next.ServeHTTP(w, r)
//		})
//	}
package exchange

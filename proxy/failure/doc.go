// Package failure says what becomes of a request that cannot be served: the
// status, the cause by which log and metrics name it, whether that is the
// operator's business, and what can be done about it.
//
// [Classify] is the one place in the house that decides this. Whoever refuses a
// request by itself (a middleware, a route) says it in an [exchange.Refusal];
// what breaks between client and server comes as one of the errors of this
// package or of the package upstream. [WritePage] is the plain page with which
// the answer goes out where a site has none of its own, and [Log] keeps an
// outage from flooding the log.
//
// The package answers nothing by itself and writes no log line: the proxy does
// both, once for each request. It imports the exchange and the errors of the
// package upstream, and neither the proxy nor the configuration.
//
//	v := failure.Classify(r, err)
//	if suppressed, ok := log.Admit(failure.OriginOf(x), v.Label); ok {
//		logger.Log(v.Level, "request failed", zap.String("cause", v.Label), zap.Error(err), zap.String("hint", v.Hint), suppressed)
//	}
//	if v.Status != 0 {
//		failure.WritePage(w, r, v.Status)
//	}
package failure

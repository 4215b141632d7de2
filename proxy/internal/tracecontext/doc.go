// Package tracecontext reads and writes the traceparent field (W3C Trace
// Context section 3.2): by which trace a request is known, and which span of it
// sent the request. The access log and proxy/tracing read with it, so that what
// the one takes for a trace the other does too.
//
// It imports no other room, keeps nothing and starts nothing.
//
//	parent, ok := tracecontext.Parse(r.Header["Traceparent"])
//	if ok && parent.Sampled() {
//		log(parent.Trace)
//	}
package tracecontext

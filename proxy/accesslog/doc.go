// Package accesslog makes one line of each request that was answered, as JSON
// or as nginx's combined format, and gives it to a sink that never blocks.
//
// Whatever a client sends is escaped, so that no line can be forged; the query
// keys and header fields that hold secrets are masked, and the fields that hold
// nothing else (Authorization, Cookie) cannot be logged at all in the clear.
//
// The package is a leaf: it knows proxy/exchange and the writer that it is
// given, no engine and no configuration. A [Log] owns nothing and never changes.
//
//	log, err := accesslog.New(accesslog.Options{Format: accesslog.JSON, Sink: sink})
//	if err != nil {
//		return err
//	}
//	log.Done(r, exchange.Of(r), took)
package accesslog

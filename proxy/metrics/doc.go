// Package metrics counts requests for Prometheus.
//
// What is counted on the request path are a handful of atomic additions: the
// series of a site are looked up once and kept. Cardinality is bounded: sites
// and upstreams are those of the configuration, methods, statuses and causes
// come from closed sets, and nothing that a client chooses becomes a label.
//
// The package is a leaf: it knows proxy/exchange and Prometheus's client, no
// engine and no configuration. Everything else that is told by metrics
// (certificates, servers, connections) is read from snapshots when somebody
// asks, by collectors in cmd/sallyport.
//
//	m := metrics.New(registry)
//	m.Began(r, x)
//	defer func() { m.Done(r, x, time.Since(x.Started)) }()
package metrics

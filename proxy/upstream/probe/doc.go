// Package probe asks a server whether it is well: by an HTTP request or by the
// gRPC health protocol (grpc.health.v1). Check asks once; when to ask, and what
// an answer means for balancing, is the caller's business. It starts nothing
// and imports no other room.
//
//	err := probe.Check(ctx, server, probe.Options{Path: "/healthz", StatusMin: 200, StatusMax: 399, Timeout: 2 * time.Second})
package probe

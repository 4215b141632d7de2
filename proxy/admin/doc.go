// Package admin is the local control socket: an HTTP API on a unix socket that
// only the process's own user can open.
//
// Open takes the socket, Handle hangs endpoints on it, Run serves and owns its
// goroutines. For now there is one endpoint, GET /v1/health; Health asks it.
// The package imports neither config nor any other room: what it reports comes
// from injected functions.
//
//	control, err := admin.Open(ctx, admin.Options{Socket: "/var/lib/sallyport/sallyport.sock", Health: health})
//	if err != nil {
//		return err
//	}
//	go func() { done <- control.Run(ctx) }()
package admin

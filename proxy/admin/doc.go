// Package admin is how a running process is watched and told what to do: an
// HTTP API on a unix socket that only the process's own user can open, the same
// on TCP for who knows a token, and a page that shows it all.
//
// Open takes the sockets, Serve hangs the API of a [Control] on them, Handle
// further endpoints, Run serves and owns its goroutines. [Client] asks; the
// commands of the program use it. The package imports neither config nor any
// other room: what it shows and does comes from injected functions.
//
//	control, err := admin.Open(ctx, admin.Options{Socket: "/var/lib/sallyport/sallyport.sock", Health: health})
//	if err != nil {
//		return err
//	}
//	control.Serve(admin.Control{Status: status, Reload: reload})
//	go func() { done <- control.Run(ctx) }()
//
// # The API, version 1
//
// Answers are JSON; the types are those of this package, and grow by fields
// only. What cannot be done is a [Failure] with a status of 4xx or 5xx.
//
//	GET  /v1/health        Report: 200, or 503 with reasons
//	GET  /v1/status        Status: everything
//	GET  /v1/config, sites, certificates, credentials, upstreams, events
//	                       that part of it
//	GET  /v1/pulse         Pulse, each second, as server-sent events
//	POST /v1/reload        Reload: what came of it
//	POST /v1/plan          name=/etc/sallyport.yaml, config=TEXT: Plan
//	POST /v1/upgrade       binary=/path, or nothing: Done
//	POST /v1/renew         name=app.example.com: Done
//	POST /v1/purge         host=app.example.com, path=/a or /a*: Done
//	POST /v1/drain         server=http://app:8080, on=true or false: Done
//	POST /v1/log-level     level=debug: Done
//	POST /v1/explain       url=https://…, method=, header='A: b', from=IP:
//	                       explain.Answer: what would become of a request
//	GET  /metrics          for Prometheus; the program adds it by Handle
//	GET  /                 the status page
//
// Over TCP each request needs the token, as "Authorization: Bearer TOKEN" or as a
// password (401 without). What a page of another origin asks for, or one under a
// foreign name that leads to our loopback address, is refused (403).
package admin

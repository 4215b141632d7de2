// Package load sends requests to a proxy as fast as it answers and counts: how
// many, how many failed and why, and how long each took. It is for proxy/bench
// alone and imports no room.
//
// A [Plan] says what to send. Four generators are built in: [HTTP1] and [HTTP2]
// on connections that stay open, [Handshakes] on a new connection for each
// request, and [WebSockets]. [Wrk] and [H2load] drive the programs of those
// names, which take less processor time away from what is measured. What is
// slow to set up happens in opening a [Session], so that only Run need be
// measured.
//
//	session, err := load.HTTP1(ctx, plan)
//	defer session.Close()
//	result, err := session.Run(ctx)
//	fmt.Println(result.Requests, result.P99, result.Failures())
//
// A session owns its connections and processes; when Run has returned no
// goroutine of it is left.
package load

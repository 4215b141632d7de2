// Bench measures what a request costs in nginx, HAProxy, Caddy and sallyport,
// side by side on one machine: processor time by the operating system's own
// accounting, throughput, latency and memory.
//
//	go run ./proxy/bench                                    # everything that is installed, about 25 minutes
//	go run ./proxy/bench --only h1-13b,h2-13b --rounds 3    # some cases (--list names them)
//	go run ./proxy/bench --json result.json                 # keep the result, with date, machine and versions
//	go run ./proxy/bench --table result.json                # print it as the Markdown table of the README
//	go run ./proxy/bench --profile cmd/sallyport/default.pgo   # a profile for the compiler (profile-guided optimisation), a minute
//	go run ./proxy/bench --caddy ~/go/bin/caddy --proxies nginx,caddy,sallyport
//
// On Debian: apt-get install nginx haproxy caddy wrk nghttp2-client. What is
// not installed is left out; without wrk or h2load the load comes from this
// program, which costs more of the processors that it shares with the proxies.
//
// # What is compared
//
// Every proxy has the same certificate (P-256), TLS 1.3 with
// TLS_AES_128_GCM_SHA256 and X25519, the same pool of connections to the server
// behind, sets the same header fields, writes no access log and no temporary
// files, and has two workers: two processes, two threads, or GOMAXPROCS=2 and,
// on a machine with more, two processors that it is bound to. The
// configurations are in templates. The server behind is a process of its own.
//
// Rounds are interleaved (nginx, HAProxy, Caddy, sallyport, nginx, ...), so
// that whatever else the machine does falls on all alike. Figures are medians,
// with the smallest and the largest beside them; ratios are made within each
// round. "others" is the share of the processors that programs outside of the
// bench used meanwhile: above a few hundredths throughput and latency say little,
// while processor time per request holds longer. nginx's pool is per worker,
// and Caddy's per site.
//
// Before each case each proxy has to show that it does the work: right status,
// length and content, right protocol, forwarded header fields, sessions
// resumed. One that does not gets "-" and the reason.
//
// # Parts
//
// The generators are in package load, the server behind in package origin, the
// books of the operating system in package account. This package imports no
// other room. It ends only processes that it started, and removes its
// directory, on Ctrl-C too. It needs Linux.
package main

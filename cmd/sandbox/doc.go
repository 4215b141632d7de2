// Command sandbox shows the whole story of Sallyport on one machine, with no
// account, domain or network: a test CA (Pebble), a stand-in for Cloudflare's
// API and name servers, two demo services, and the real sallyport binary,
// started in an environment full of stale credentials and proxies.
//
//	go run ./cmd/sandbox          # tells the story, then keeps running until Ctrl-C
//	go run ./cmd/sandbox --once   # exits after the story: 0 if every step held
//
// Everything listens on 127.0.0.1 and lives in one temporary directory, which
// goes when the sandbox ends. It owns the processes and goroutines it starts
// and waits for them. Nothing imports this package.
package main

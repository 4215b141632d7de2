// Package cloudflare answers ACME DNS-01 challenges with Cloudflare's API: it
// reads tokens, chooses the token of a name's zone, writes and deletes the TXT
// records and waits until the zone's name servers show them.
//
// It uses what its Options name and nothing else. It reads no environment
// variable, no default HTTP client, no system proxy, no system roots and
// no resolver but the one it is given. It imports neither config nor tlsmgr; only
// tlsmgr and commands import it.
//
// A [Mux] is made from credentials. A [Credential] is a token's [Source] and the
// zones the token is used for; the token is read again at every use and lives in
// a secret.Text until it becomes an Authorization header in client.go. The Mux
// starts no goroutine that outlives a call: [Mux.Watch] runs until its context
// ends, everything else until it returns. The caller owns the [Journal], which
// remembers the records that still have to be deleted. Call [Mux.Sweep]
// after a restart, before the first order.
//
// Errors are typed. [Hint] finds what the user can do about one, [Temporary]
// tells "try again" from "somebody has to mend this". No error, log line or
// report holds a token or a piece of one.
//
//	mux, err := cloudflare.New(cloudflare.Options{
//		Credentials: []cloudflare.Credential{{
//			Name:   "main",
//			Zones:  []string{"example.com"},
//			Source: cloudflare.File("/run/secrets/cloudflare"),
//			Roots:  roots,
//		}},
//		Resolver: &net.Resolver{PreferGo: true},
//		Journal:  journal,
//		Logger:   logger.Named("cloudflare"),
//	})
//	client.ChallengeSolvers = map[string]acmez.Solver{acme.ChallengeTypeDNS01: mux}
package cloudflare

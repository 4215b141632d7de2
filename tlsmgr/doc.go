// Package tlsmgr decides which certificate each name gets, makes sure that it
// exists and stays valid, and hands it to TLS handshakes.
//
// The parts, in the order in which a name passes through them:
//
//   - build.go turns a configuration into [Settings]; it is the only file that
//     imports config. plan.go, a pure function, gives each name its issuer, zone
//     and credential.
//   - [Manager] takes Settings with Apply and runs with Run. Its scheduler
//     (scheduler.go) runs one attempt at a time per name and a bounded number in
//     all; an attempt (ensure.go) loads, obtains or renews, by one path.
//   - acme.go drives certmagic for one order; files.go reads certificate and key
//     files; the room localca signs for internal names.
//   - serve.go is all that a handshake touches: an immutable map and an atomic
//     pointer per name.
//
// Of certmagic it uses single orders, accounts, storage keys and nothing that
// runs by itself: retries, renewal times and the cache are ours, so that every
// goroutine has an owner who waits for it, every failure is logged once with its
// cure, and a new token takes effect at once.
//
// The package must not import proxy. Only it and the rooms below it import
// certmagic, acmez and libdns. Run owns every goroutine; the one exception are
// idle HTTP connections to the CA, which certmagic does not let anybody close.
//
//	settings, problems := tlsmgr.FromConfig(cfg, tlsmgr.FromOptions{Roots: roots})
//	manager, err := tlsmgr.New(tlsmgr.Options{Logger: logger})
//	err = manager.Apply(settings) // serves what the storage has from here on
//	go func() { done <- manager.Run(ctx) }()
//	tlsConfig := &tls.Config{GetCertificate: manager.GetCertificate}
package tlsmgr

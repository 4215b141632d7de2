// Package survey looks at the outside world that certificates depend on,
// without changing anything: the CA's directory and its clock, CAA records,
// aliases of challenge names. `sallyport doctor` asks it.
//
// It uses what its Options name and nothing else: no proxy, no default client, no
// system roots. It imports nothing of the house. A [Survey] owns no goroutine;
// every call is bounded by its context and by limits of its own, and several may
// be made at once.
//
//	s := survey.New(survey.Options{Resolver: resolver, Servers: []string{"192.0.2.53:53"}, Roots: roots})
//	policy, err := s.CAA(ctx, "app.example.com")
//	if err == nil && !policy.Allows([]string{"letsencrypt.org"}, false, "dns-01") {
//		// orders will fail
//	}
package survey

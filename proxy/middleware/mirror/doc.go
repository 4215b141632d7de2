// Package mirror sends copies of requests to a second upstream, whose answers
// nobody sees: to try a new version with real traffic.
//
// The copy never costs the request itself more than copying its body to memory:
// it is left out when too many are under way, when the body is too large, and
// when the client breaks off. A [Mirror] owns the goroutines that send; Close
// ends them and waits. The package knows neither the configuration nor the
// proxy, which gives it a round tripper and the request to send.
//
//	m, err := mirror.New(mirror.Options{To: pool, Percent: 10}, report)
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//	handler = m.Wrap(handler, outgoing)
package mirror

// Package limit bounds what one client, or one route, may take: requests in a
// time ([Rate]), requests under way ([Connections]), the bytes of a request's
// body ([Body]) and the time that it may take to arrive ([Arrival]).
//
// Each refuses through package exchange and knows neither the configuration
// nor the proxy. A [Rate] and a [Connections] have state that a reload should
// carry over: they are made from comparable options. Nothing here starts a
// goroutine, and nothing has to be closed.
//
//	login, err := limit.NewRate(limit.RateOptions{Name: "login", Key: "client_ip", Requests: 5, Per: time.Minute, Burst: 10})
//	if err != nil {
//		return err
//	}
//	handler = login.Wrap(handler, nil)
package limit

// Package reply has the actions that answer by themselves: [Redirect] sends the
// client to another address, [Respond] gives a fixed answer.
//
// A redirect never leads where the client wants: what a request says can only
// stand behind the host and its slash, which is checked when the redirect is
// made, and an address that begins with a path never begins with two slashes,
// which browsers take for a host.
//
// The package imports exchange and placeholder of the house. It keeps no state.
//
//	to, _ := placeholder.Parse("https://www.example.com{uri}")
//	handler, err := reply.Redirect(reply.RedirectOptions{To: to, Status: 301})
package reply

// Package placeholder fills texts of the configuration with what a request
// says: https://{host}{uri}.
//
// The list of placeholders is closed, and [Parse] knows it, so that a misspelt
// one is an error of the configuration and never shows to a client:
//
//	{host}             the host that was asked for, lower case, without port
//	{uri}              path and query, encoded
//	{path}             the path, encoded
//	{query}            what follows the ?, without it
//	{method}           GET, POST, …
//	{scheme}           https or http, as the client sees it
//	{client_ip}        the client's address
//	{peer_ip}          the address at the other end of the connection
//	{request_id}       the id that log lines have too
//	{site}             the name of the site
//	{user}             who the client has proven to be
//	{status}           the status of the answer; 0 before there is one
//	{header.NAME}      the first value of a field of the request
//	{cookie.NAME}      the value of a cookie
//	{query.NAME}       the first value of a parameter, decoded
//	{capture.N}        a group of the regular expression that matched the path; 0: the match
//	{tls.version}      TLS 1.3
//	{tls.subject}      the subject of a client certificate that was verified
//	{tls.fingerprint}  its SHA-256, in hexadecimal
//
// Path and query are those of the request where the text is used: behind a
// rewrite the rewritten ones. What is not known is the empty text. A brace
// begins a placeholder only where a letter follows it, so that JSON needs no
// care; {{ is one brace wherever it stands.
//
// What comes from a request is not to be trusted: control characters are left
// out, and where the text is a target or an address ([Template.ExpandTarget])
// what is not encoded already gets encoded.
//
// The package imports [github.com/sallyport/sallyport/proxy/exchange] and
// [github.com/sallyport/sallyport/proxy/target], nothing else of the house. A Template never changes and may be used by many
// goroutines.
//
//	t, err := placeholder.Parse("https://{host}{uri}")
//	if err != nil {
//		return err
//	}
//	location := t.ExpandTarget(r)
package placeholder

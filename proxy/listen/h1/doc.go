// Package h1 is an HTTP/1.1 server engine (RFC 9110, RFC 9112).
package h1

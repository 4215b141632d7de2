// Package tlsmemory takes from TLS connections at rest what crypto/tls keeps for
// them: the buffer of the largest record that ever came, up to 17 KiB each, and
// that of the handshake. The standard library has no way to ask for it, so the
// fields are found by reflection. Where a version of Go names them otherwise or
// makes something else of them, nothing happens but that the memory stays, and a
// test says so.
//
// It imports no other room, keeps nothing and starts nothing.
//
//	tlsmemory.Release(conn) // by the goroutine that reads, between two reads
package tlsmemory

// Package socket moves bytes through connected sockets without telling Go's
// scheduler of the system calls.
//
// The scheduler must know of a call that may wait: it gives the caller's
// processor to another thread meanwhile, at the latest when its monitor finds
// that the call has lasted for 20 microseconds. A call on a non-blocking socket
// never waits, but on a busy machine its thread may lose its core to another
// program for longer than that. Then one thread more is woken up than there are
// processors, both get into each other's way, and the monitor, having found
// something, looks again 20 microseconds later, some ten thousand times a
// second. On a machine that a proxy shares with its clients and servers this took a
// quarter of a small request's processor time, and most of its p99.
//
// So [Stream] makes these calls like the runtime makes its own short ones, and
// with MSG_DONTWAIT: they return at once whatever the socket's mode. Garbage
// collection, which stops the world, waits for such a call for as long as it
// takes the kernel to copy what is handed over at once; 16 KiB, a TLS record,
// take it some microseconds. Waiting is left to Go's poller as ever, and with it
// deadlines and Close.
//
// In race builds and where this was not tried, the calls are the usual ones: the
// race detector learns from them what happens before what.
//
// The package is a leaf, owns no connection and starts nothing.
//
//	nc, err := listener.Accept()
//	...
//	stream := socket.New(nc) // nc itself if it is not a plain socket
//	n, err := stream.Read(buf)
package socket

// Package buffer takes in a request's whole body before anybody behind it is
// asked: a slow client does not keep a server busy, the server learns the
// length, and a request that fails can be sent again.
//
// A [Buffer] owns what it holds, in memory and then in files without a name
// that the system frees when they are closed, and bounds both, for one request
// and in all. It starts nothing and need not be closed. The package knows
// neither the configuration nor the proxy.
//
//	b, err := buffer.New(buffer.Options{Dir: "/var/lib/sallyport/buffer"})
//	if err != nil {
//		return err
//	}
//	handler = b.Wrap(handler)
package buffer

// Package compress compresses responses on their way to clients that
// understand it, by zstd (RFC 8878) or gzip (RFC 1952).
//
// Brotli is not among them: at the speeds that a proxy can afford zstd is
// smaller and faster, current browsers have it, and gzip serves the rest. (Files
// that were compressed beforehand by brotli are the business of proxy/static.)
//
// A [Compressor] owns its encoders and bounds how many there are. It starts
// nothing and need not be closed. The package knows neither the configuration
// nor the proxy.
//
//	c, err := compress.New(compress.Options{})
//	if err != nil {
//		return err
//	}
//	handler = c.Wrap(handler)
package compress

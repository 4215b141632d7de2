// Package fastcgi speaks FastCGI 1.0 with an application server such as
// PHP-FPM.
//
// [Transport] is the wire: an [http.RoundTripper] that sends a request for one
// script, named by [WithScript], and streams both bodies. A connection carries
// one request: PHP-FPM binds a process to a connection as long as it is open,
// so that kept ones would starve it. [PHP] is what stands before it: it decides
// which script a path means, by looking which files there are, and has files
// that are no scripts served by package static.
//
// The package imports neither config nor the engines; its errors are those of
// package upstream, so that a failure is told in the same words whatever the
// server speaks. A Transport owns nothing. A round trip owns its connection and
// the goroutine that sends the request's body; both end when the response's
// body is closed, the goroutine at the latest when reading the request's body
// is interrupted.
//
//	transport := fastcgi.New(fastcgi.Options{Server: "unix:/run/php/php-fpm.sock", Timeout: time.Minute})
//	php, err := fastcgi.NewPHP(fastcgi.PHPOptions{Files: files, Root: "/srv/wordpress"}, forwardTo(transport))
//	if err != nil {
//		return err
//	}
//	http.Handle("/", php)
package fastcgi

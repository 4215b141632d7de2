// Package storage keeps certificates, private keys and the ACME account in a
// directory. [Dir] implements certmagic.Storage.
//
// It differs from certmagic's own file storage in what happens on a bad day:
// locks are the kernel's (flock) and vanish with a killed process; a file is
// replaced whole or not at all, and is on the disk when Store returns; and a
// certificate that is only half replaced, because the process died or the disk
// was full between its key and its certificate, still loads as the previous
// pair. Errors are of type [*Error] and say what to do.
//
// It is a leaf: it imports certmagic and no room of ours. A Dir owns the
// directory, 0700, and the files in it, 0600; it owns no goroutine and needs no
// closing.
//
//	dir, err := storage.Open(storage.Options{Dir: "/var/lib/sallyport", Logger: logger})
//	...
//	err = dir.Store(ctx, "certificates/ca/app.example.com/app.example.com.key", pem)
package storage

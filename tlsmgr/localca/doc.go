// Package localca is the internal certificate authority, for local development
// and for names that no public CA can vouch for. It makes a root once, keeps it
// in a directory, and signs short-lived certificates with it.
//
// It is a leaf: it imports no room. An [Authority] owns the two files in its
// directory; it owns no goroutine and needs no closing.
//
//	authority, err := localca.Open(localca.Options{Dir: "/var/lib/sallyport/localca"})
//	certificate, err := authority.Issue("app.localhost")
//	fmt.Println("trust", authority.RootPath())
package localca

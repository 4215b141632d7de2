// Package standin is a DNS server on loopback that answers what a test tells
// it to. It is test support: nothing that is built into the program imports it,
// and it imports no other room. Whoever starts a Server closes it.
//
//	dns, err := standin.Start("30 IN A 127.0.0.1")
//	defer dns.Close()
//	name := resolve.New(resolve.Options{Host: "api.test.", NameServer: dns.Address()})
//	dns.Set("30 IN A 127.0.0.2")
package standin

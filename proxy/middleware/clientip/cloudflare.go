package clientip

import "net/netip"

// CloudflareDate is when Cloudflare last changed the list below, as published
// at https://www.cloudflare.com/ips/. It was unchanged in 2026. A range that is
// missing here only means that clients seem to be Cloudflare's proxies; one that
// Cloudflare gave away would let its new owner speak for clients, which is why
// the list is dated and not fetched.
const CloudflareDate = "2023-09-28"

// cloudflareRanges returns the addresses that Cloudflare's proxies connect
// from.
func cloudflareRanges() []netip.Prefix {
	var list []netip.Prefix
	for _, text := range []string{
		"173.245.48.0/20", "103.21.244.0/22", "103.22.200.0/22", "103.31.4.0/22",
		"141.101.64.0/18", "108.162.192.0/18", "190.93.240.0/20", "188.114.96.0/20",
		"197.234.240.0/22", "198.41.128.0/17", "162.158.0.0/15", "104.16.0.0/13",
		"104.24.0.0/14", "172.64.0.0/13", "131.0.72.0/22",
		"2400:cb00::/32", "2606:4700::/32", "2803:f800::/32", "2405:b500::/32",
		"2405:8100::/32", "2a06:98c0::/29", "2c0f:f248::/32",
	} {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

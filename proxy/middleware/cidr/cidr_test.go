package cidr_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/sallyport/sallyport/proxy/middleware/cidr"
)

func set(texts ...string) cidr.Set {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return cidr.Of(list...)
}

func TestASetHoldsItsRangesAndNothingElse(t *testing.T) {
	s := set("10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32", "::ffff:198.51.100.0/120", "203.0.113.77/24", "255.255.255.255/32")
	for text, want := range map[string]bool{
		"10.0.0.0": true, "10.255.255.255": true, "9.255.255.255": false, "11.0.0.0": false,
		"192.0.2.6": false, "192.0.2.7": true, "192.0.2.8": false,
		"2001:db8::": true, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff": true, "2001:db9::": false, "2001:db7:ffff::1": false,
		"::ffff:10.0.0.1": true, "198.51.100.9": true, "::ffff:198.51.100.9": true, "198.51.101.0": false,
		"203.0.113.1": true, "2001:db8::1%eth0": true, "255.255.255.255": true, "::": false, "0.0.0.0": false,
	} {
		if got := s.Contains(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if s.Contains(netip.Addr{}) {
		t.Error("it holds the zero address")
	}
	if (cidr.Set{}).Contains(netip.MustParseAddr("10.0.0.1")) || !(cidr.Set{}).Empty() || s.Empty() {
		t.Error("the empty set is not empty")
	}
	if all := set("0.0.0.0/0"); !all.Contains(netip.MustParseAddr("192.0.2.1")) || all.Contains(netip.MustParseAddr("2001:db8::1")) {
		t.Error("0.0.0.0/0 is all of IPv4 and nothing of IPv6")
	}
}

func TestASetAgreesWithItsPrefixesOneByOne(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	address := func() netip.Addr {
		// Few values a byte, so that hits and overlaps are common.
		b := [4]byte{byte(random.IntN(3)), byte(random.IntN(3)), byte(random.IntN(256)), byte(random.IntN(256))}
		if random.IntN(2) == 0 {
			return netip.AddrFrom4(b)
		}
		return netip.AddrFrom16([16]byte{0x20, 1, b[0], b[1], 14: b[2], 15: b[3]})
	}
	for range 200 {
		var list []netip.Prefix
		for range random.IntN(20) {
			a := address()
			list = append(list, netip.PrefixFrom(a, random.IntN(a.BitLen()+1)))
		}
		s := cidr.Of(list...)
		for range 200 {
			a, want := address(), false
			for _, p := range list {
				want = want || p.Contains(a)
			}
			if s.Contains(a) != want {
				t.Fatalf("%v in %v: %v, want %v", a, list, !want, want)
			}
		}
	}
}

func BenchmarkContains(b *testing.B) {
	for _, n := range []int{1, 25, 10_000} {
		var list []netip.Prefix
		for i := range n {
			list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i >> 8), byte(i), 0, 0}), 24))
		}
		s, a := cidr.Of(list...), netip.MustParseAddr("20.77.0.200")
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Contains(a)
			}
		})
	}
}

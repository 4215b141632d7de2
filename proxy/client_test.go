package proxy

import (
	"net/http"
	"net/netip"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/clientip"
)

// TestEverybodyBeingTheGatewayIsWarnedOfOnce has clients that Docker's userland
// proxy hides, and then the same behind a proxy that is trusted.
func TestEverybodyBeingTheGatewayIsWarnedOfOnce(t *testing.T) {
	gateway := netip.MustParseAddr("172.17.0.1")
	for want, trust := range []*clientip.Trust{1: nil, 0: clientip.New(clientip.Options{Proxies: []netip.Prefix{netip.PrefixFrom(gateway, 32)}})} {
		core, log := observer.New(zap.WarnLevel)
		p := New(Options{Logger: zap.New(core)})
		p.gateway = clientip.NewWatch(gateway)
		for port := range 100 {
			r := &http.Request{RemoteAddr: netip.AddrPortFrom(gateway, uint16(1000+port)).String(), Header: http.Header{"X-Forwarded-For": {"192.0.2.1"}}}
			if err := p.clientOf(&Generation{trust: trust}, exchange.New(r), r); err != nil {
				t.Fatal(err)
			}
		}
		lines := log.All()
		if len(lines) != want || want == 1 && lines[0].ContextMap()["hint"] == "" {
			t.Errorf("trusted %v: %d lines", trust != nil, len(lines))
		}
	}
}

package h2_test

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"

	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// h2spec is the suite that other servers are measured with; strict adds what
// RFC 7540 only recommends.
func TestConformsToTheSpecification(t *testing.T) {
	r := run(t, h2.Options{Streams: 100}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "Hello, h2spec. This is long enough for its flow control.\n")
	})
	host, port, _ := net.SplitHostPort(r.address)
	number, _ := strconv.Atoi(port)
	c := &config.Config{
		Host: host, Port: number, Path: "/", Timeout: 2 * time.Second, MaxHeaderLen: 4000,
		Strict: true, TLS: true, Insecure: true,
	}
	passed := 0
	for _, group := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		group.Test(c)
		passed += group.PassedCount
		failures(t, group)
	}
	if passed < 145 {
		t.Errorf("%d cases passed, want all 145 or more", passed)
	}
	t.Logf("%d cases passed", passed)
}

func failures(t *testing.T, group *spec.TestGroup) {
	for _, one := range append(group.Tests, group.StrictTests...) {
		if one.Result != nil && (one.Result.Failed || one.Result.Skipped) {
			t.Errorf("%s: %s: %v", group.ID(), one.Desc, one.Result.Error)
		}
	}
	for _, inner := range group.Groups {
		failures(t, inner)
	}
}

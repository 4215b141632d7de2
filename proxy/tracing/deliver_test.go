package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// bench is an exporter whose collector is a function, so that it can be tested
// in a bubble, where time costs nothing.
type bench struct {
	*Exporter
	counts Counts
	asked  []time.Time // when the collector was
	sizes  []int       // spans of each request
	bytes  []int       // of each, before compression
	told   []string    // "" is that it works again
	left   []int       // how many were suppressed
}

// answer is what a collector says: a status, and a body or a Retry-After.
type answer struct {
	status int
	after  string
	body   []byte
	err    error
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// newBench returns an exporter whose nth request, from 1 on, gets an answer.
func newBench(t *testing.T, o Options, answers func(ctx context.Context, n int) answer) *bench {
	t.Helper()
	b := new(bench)
	o.Endpoint = "http://collector.test/v1/traces"
	e, err := New(o, Links{Counts: &b.counts, Trouble: func(err error, suppressed int) {
		text := ""
		if err != nil {
			text = err.Error()
		}
		b.told, b.left = append(b.told, text), append(b.left, suppressed)
	}})
	if err != nil {
		t.Fatal(err)
	}
	e.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(z)
		var data trace.TracesData
		if err == nil {
			err = proto.Unmarshal(text, &data)
		}
		if err != nil {
			t.Errorf("a body that is none: %v", err)
		}
		b.asked = append(b.asked, time.Now())
		b.sizes = append(b.sizes, len(data.ResourceSpans[0].ScopeSpans[0].Spans))
		b.bytes = append(b.bytes, len(text))
		a := answers(r.Context(), len(b.asked))
		if a.err != nil {
			return nil, a.err
		}
		res := &http.Response{StatusCode: a.status, Header: make(http.Header), Body: io.NopCloser(bytes.NewReader(a.body))}
		if a.after != "" {
			res.Header.Set("Retry-After", a.after)
		}
		return res, nil
	})
	b.Exporter = e
	return b
}

// finish hands n spans over.
func (b *bench) finish(n int, path string) {
	tracer := Tracer{Exporter: b.Exporter, Sample: 1}
	for range n {
		r := httptest.NewRequest("GET", "/", nil)
		x := exchange.New(r)
		x.Target = path
		tracer.Done(tracer.Begin(r), r, x, time.Millisecond)
	}
}

// run runs the exporter until the returned function is called, which returns
// how long stopping took.
func (b *bench) run() (stop func() time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { b.Run(ctx) })
	return func() time.Duration {
		began := time.Now()
		cancel()
		group.Wait()
		return time.Since(began)
	}
}

// pass lets time go by in a bubble, and what was to happen by then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bench) counted(t *testing.T, sent, dropped uint64) {
	t.Helper()
	if s, d := b.counts.Sent.Load(), b.counts.Dropped.Load(); s != sent || d != dropped {
		t.Errorf("%d sent and %d dropped, want %d and %d", s, d, sent, dropped)
	}
}

func TestABatchIsTriedAgainAfterGrowingPausesAndThenGivenUp(t *testing.T) {
	for _, status := range []int{429, 502, 503, 504, 0} { // 0: nobody listens
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, Options{}, func(context.Context, int) answer {
				if status == 0 {
					return answer{err: syscall.ECONNREFUSED}
				}
				return answer{status: status}
			})
			b.finish(3, "/")
			stop := b.run()
			pass(time.Hour)
			b.counted(t, 0, 3)
			if len(b.asked) != mostAttempts {
				t.Fatalf("%d attempts", len(b.asked))
			}
			want := time.Second
			for i := range len(b.asked) - 1 {
				if gap := b.asked[i+1].Sub(b.asked[i]); gap < want*8/10 || gap > want*12/10 {
					t.Errorf("pause %d is %v, want about %v", i+1, gap, want)
				}
				want *= 2
			}
			if len(b.told) != 1 {
				t.Errorf("told %q", b.told)
			}
			stop()
		})
	}
}

func TestWhatCannotSucceedIsNotTriedAgain(t *testing.T) {
	for _, status := range []int{301, 400, 401, 403, 404, 413, 500, 501} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, Options{}, func(context.Context, int) answer { return answer{status: status, after: "1"} })
			b.finish(1, "/")
			stop := b.run()
			pass(time.Hour)
			if len(b.asked) != 1 || len(b.told) != 1 {
				t.Errorf("%d: %d attempts, told %q", status, len(b.asked), b.told)
			}
			b.counted(t, 0, 1)
			stop()
		})
	}
}

func TestRetryAfterIsHeeded(t *testing.T) {
	for after, want := range map[string]time.Duration{
		"0": leastPause, "7": 7 * time.Second, "120": 2 * time.Minute, "86400": mostPause, "99999999999999999999": time.Second, "-1": time.Second,
		"date": 90 * time.Second, "soon": time.Second, "Sat, 01 Jan 2000 00:00:00 GMT": leastPause,
	} {
		synctest.Test(t, func(t *testing.T) {
			if after == "date" { // the bubble's clock stands at a whole second
				after = time.Now().Add(90*time.Second + interval).UTC().Format(http.TimeFormat)
			}
			b := newBench(t, Options{}, func(_ context.Context, n int) answer {
				if n == 1 {
					return answer{status: 429, after: after}
				}
				return answer{status: 200}
			})
			b.finish(1, "/")
			stop := b.run()
			pass(time.Hour)
			b.counted(t, 1, 0)
			if len(b.asked) != 2 {
				t.Fatalf("%q: %d attempts", after, len(b.asked))
			}
			if gap := b.asked[1].Sub(b.asked[0]); gap < want*8/10 || gap > want*12/10 {
				t.Errorf("%q: waited %v, want %v", after, gap, want)
			}
			if len(b.told) != 0 {
				t.Errorf("%q: told %q of one refusal", after, b.told)
			}
			stop()
		})
	}
}

func TestMoreSpansThanABatchAreSentInSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{}, func(context.Context, int) answer { return answer{status: 200} })
		b.finish(1300, "/")
		stop := b.run()
		pass(time.Minute)
		if len(b.sizes) != 3 || b.sizes[0] != mostSpans || b.sizes[1] != mostSpans || b.sizes[2] != 1300-2*mostSpans {
			t.Errorf("batches of %v", b.sizes)
		}
		b.counted(t, 1300, 0)
		stop()
	})
}

func TestABatchThatIsTooLargeIsHalved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{}, func(context.Context, int) answer { return answer{status: 200} })
		long := "/" + strings.Repeat("x", 2*mostValue)
		tracer := Tracer{Exporter: b.Exporter, Sample: 1}
		for range mostSpans {
			r := httptest.NewRequest(strings.Repeat("M", 2*mostValue), "/", nil)
			r.Host, r.Header = strings.Repeat("h", 2*mostValue), http.Header{
				"User-Agent": {long}, "Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, "Tracestate": {"a=" + long}}
			x := exchange.New(r)
			x.Target = long
			tracer.Done(tracer.Begin(r), r, x, 0)
		}
		stop := b.run()
		pass(time.Minute)
		b.counted(t, mostSpans, 0)
		if len(b.sizes) != 2 {
			t.Errorf("batches of %v spans", b.sizes)
		}
		for _, n := range b.bytes {
			if n > mostBytes {
				t.Errorf("a body of %d bytes", n)
			}
		}
		stop()
	})
}

func TestAStopIsNotHeldUp(t *testing.T) {
	silent := func(ctx context.Context, _ int) answer { // until somebody gives up
		<-ctx.Done()
		return answer{err: ctx.Err()}
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{Timeout: time.Hour}, silent)
		b.finish(2000, "/")
		stop := b.run()
		pass(time.Minute)
		if took := stop(); took != grace {
			t.Errorf("stopping took %v with a collector that says nothing", took)
		}
		b.counted(t, 0, 2000)
	})
	synctest.Test(t, func(t *testing.T) { // in the middle of a pause
		b := newBench(t, Options{}, func(_ context.Context, n int) answer {
			if n == 1 {
				return answer{status: 503, after: "200"}
			}
			return answer{status: 200}
		})
		b.finish(1000, "/")
		stop := b.run()
		pass(time.Minute)
		if took := stop(); took > time.Millisecond {
			t.Errorf("stopping took %v in a pause", took)
		}
		b.counted(t, 1000, 0)
	})
	synctest.Test(t, func(t *testing.T) { // nothing to do
		b := newBench(t, Options{}, silent)
		stop := b.run()
		pass(time.Minute)
		if took := stop(); took != 0 {
			t.Errorf("stopping took %v", took)
		}
	})
}

// partial makes an ExportTraceServiceResponse.
func partial(refused int64, note string) []byte {
	inner := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(refused))
	if note != "" {
		inner = protowire.AppendString(protowire.AppendTag(inner, 2, protowire.BytesType), note)
	}
	outer := protowire.AppendFixed32(protowire.AppendTag(nil, 15, protowire.Fixed32Type), 7) // of a version to come
	return protowire.AppendBytes(protowire.AppendTag(outer, 1, protowire.BytesType), inner)
}

func TestWhatACollectorTakesInPartIsCountedAndToldNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{}, func(_ context.Context, n int) answer {
			if n == 1201 {
				return answer{status: 200}
			}
			return answer{status: 200, body: partial(3, "too old\n"+strings.Repeat("x", 9999))}
		})
		stop := b.run()
		for range 1200 { // twenty minutes
			b.finish(10, "/")
			pass(time.Second)
		}
		b.counted(t, 1200*7, 1200*3)
		if len(b.told) != 2 || len(b.told[0]) > 400 || !strings.HasPrefix(b.told[0], "the collector refused 3 of 10 spans, and says: too old") {
			t.Errorf("told %q", b.told)
		}
		if len(b.left) != 2 || b.left[0] != 0 || b.left[1] < 550 || b.left[1] > 650 {
			t.Errorf("suppressed %v", b.left)
		}
		b.finish(1, "/")
		pass(time.Second)
		if len(b.told) != 3 || b.told[2] != "" {
			t.Errorf("in the end told %q", b.told)
		}
		stop()
	})
	for name, c := range map[string]struct {
		body          []byte
		sent, dropped uint64
		told          int
	}{
		"a remark": {partial(0, "deprecated"), 10, 0, 1}, "more than there were": {partial(1<<40, ""), 0, 10, 1}, "a negative number": {partial(-5, ""), 10, 0, 0},
		"nothing": {nil, 10, 0, 0}, "an empty message": {partial(0, ""), 10, 0, 0}, "no message": {[]byte("{}ok"), 10, 0, 0}, "one cut off": {partial(3, "why")[:12], 10, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, Options{}, func(context.Context, int) answer { return answer{status: 200, body: c.body} })
			b.finish(10, "/")
			stop := b.run()
			pass(time.Minute)
			if len(b.told) != c.told {
				t.Errorf("%s: told %q", name, b.told)
			}
			b.counted(t, c.sent, c.dropped)
			stop()
		})
	}
}

func TestACollectorThatFailsEverySecondTimeIsToldNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{}, func(_ context.Context, n int) answer { return answer{status: 200 + 200*(n%2)} })
		stop := b.run()
		for range 1200 {
			b.finish(1, "/")
			pass(time.Second)
		}
		if len(b.told) > 4 { // twice that it fails and twice that it works
			t.Errorf("told %d times", len(b.told))
		}
		stop()
	})
}

func TestAnotherFailureIsToldSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 401
		b := newBench(t, Options{}, func(context.Context, int) answer { return answer{status: status} })
		stop := b.run()
		for i := range 180 {
			if i == 90 {
				status = 404
			}
			b.finish(1, "/")
			pass(time.Second)
		}
		if len(b.told) != 2 || !strings.Contains(b.told[0], "401") || !strings.Contains(b.told[1], "404") || b.left[1] < 80 {
			t.Errorf("told %q, suppressed %v", b.told, b.left)
		}
		stop()
	})
}

func TestACollectorOfAPrivateCA(t *testing.T) {
	var asked sync.WaitGroup
	asked.Add(1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "the-secret" {
			t.Errorf("fields: %v", r.Header)
		}
		asked.Done()
	}))
	defer server.Close()
	dir := t.TempDir()
	ca, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "key")
	if err := errors.Join(
		os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600),
		os.WriteFile(key, []byte("X-Key: the-secret\n"), 0o640),
	); err != nil {
		t.Fatal(err)
	}
	exporter := func(ca string) *bench {
		b := new(bench)
		e, err := New(Options{Endpoint: server.URL + "/v1/traces", CA: ca, HeadersFile: key}, Links{Counts: &b.counts})
		if err != nil {
			t.Fatal(err)
		}
		b.Exporter = e
		return b
	}
	known := exporter(ca)
	known.finish(1, "/")
	stop := known.run()
	asked.Wait()
	stop()
	known.counted(t, 1, 0)

	unknown := exporter("")
	err := unknown.post(t.Context(), nil)
	if bad, ok := errors.AsType[*Error](err); !ok || bad.again || !strings.Contains(bad.Hint(), "tracing.ca") {
		t.Errorf("without the CA: %v", err)
	}
	if err := os.Chmod(key, 0o644); err != nil { // as an editor leaves it
		t.Fatal(err)
	}
	if bad, ok := errors.AsType[*Error](known.post(t.Context(), nil)); !ok || bad.again || !strings.Contains(bad.Hint(), "chmod") {
		t.Errorf("with fields that everybody can read: %v", bad)
	}
}

func FuzzRemark(f *testing.F) {
	f.Add(partial(3, "why"))
	f.Add(partial(-1, ""))
	f.Add([]byte{0x0a, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, body []byte) {
		refused, note := remark(body)
		if refused < 0 || refused > mostSpans || len(note) > 3*mostNote {
			t.Errorf("%d, %q", refused, note)
		}
	})
}

package cloudflare_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

// Tokens of the tests. Each holds the canary, so that a piece of any of them
// in a log, an error or a report is found.
const (
	canary   = "CANARY"
	tokenCom = "cfut_CANARYcom0123456789012345678901234567890123456789"
	tokenNet = "cfut_CANARYnet0123456789012345678901234567890123456789"
	tokenNew = "cfat_CANARYnew0123456789012345678901234567890123456789"
)

// setup is a Mux in a world: credential "com" for example.com and
// sub.example.com, credential "net" for example.net.
type setup struct {
	*cloudflare.Mux
	t        *testing.T
	world    *acmetest.World
	journal  cloudflare.Journal
	com, net string // token files
	log      *lockedBuffer
	logger   *zap.Logger
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSetup(t *testing.T, change ...func(*cloudflare.Options)) *setup {
	t.Helper()
	w, err := acmetest.Start(acmetest.Options{Zones: []string{"example.com", "sub.example.com", "example.net"}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &setup{
		t: t, world: w, journal: new(cloudflare.MemoryJournal),
		com: filepath.Join(dir, "com"), net: filepath.Join(dir, "net"), log: new(lockedBuffer),
	}
	s.logger = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(s.log), zap.DebugLevel))
	s.write(s.com, tokenCom)
	s.write(s.net, tokenNet)
	w.API.AddToken(acmetest.Token{Value: tokenCom, Zones: []string{"example.com", "sub.example.com"}})
	w.API.AddToken(acmetest.Token{Value: tokenNet, Zones: []string{"example.net"}})
	o := cloudflare.Options{
		Credentials: []cloudflare.Credential{
			{Name: "com", Zones: []string{"example.com", "Sub.Example.Com."}, Source: cloudflare.File(s.com), APIURL: w.API.URL, Roots: w.Roots()},
			{Name: "net", Zones: []string{"example.net"}, Source: cloudflare.File(s.net), APIURL: w.API.URL, Roots: w.Roots()},
		},
		Resolver:            w.Resolver(),
		PropagationTimeout:  20 * time.Second,
		PropagationInterval: 20 * time.Millisecond,
		Journal:             s.journal,
		Logger:              s.logger,
	}
	for _, c := range change {
		c(&o)
	}
	if s.Mux, err = cloudflare.New(o); err != nil {
		t.Fatal(err)
	}
	s.AskNameServersAt(w.DNS.Addr)
	t.Cleanup(func() {
		s.Mux.Close()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		// Whatever a test was about: its log holds no token.
		if strings.Contains(s.log.String(), canary) {
			t.Errorf("a token is in the log:\n%s", s.log)
		}
	})
	return s
}

func (s *setup) write(path, token string) {
	s.t.Helper()
	if err := os.WriteFile(path+".new", []byte(token+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
}

// challenge makes a DNS-01 challenge for name; different keys give different
// records.
func challenge(name, key string) acme.Challenge {
	return acme.Challenge{
		Type: acme.ChallengeTypeDNS01, Token: key, KeyAuthorization: key + ".thumbprint",
		Identifier: acme.Identifier{Type: "dns", Value: name},
	}
}

// txt lists the TXT records of a zone as "name text".
func (s *setup) txt(zone string) []string {
	var all []string
	for _, r := range s.world.API.Records(zone) {
		all = append(all, r.Name+" "+strings.Trim(r.Content, `"`))
	}
	return all
}

// expectTXT fails unless these are all the TXT records of a zone.
func (s *setup) expectTXT(zone string, want ...string) {
	s.t.Helper()
	if got := s.txt(zone); !slices.Equal(got, want) {
		s.t.Errorf("records of %s: %q, want %q", zone, got, want)
	}
}

// expectJournal fails unless these values are what the journal has.
func (s *setup) expectJournal(want ...acme.Challenge) {
	s.t.Helper()
	records, err := s.journal.Load(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	var got, values []string
	for _, r := range records {
		got = append(got, r.Value)
	}
	for _, c := range want {
		values = append(values, c.DNS01KeyAuthorization())
	}
	if !slices.Equal(got, values) {
		s.t.Errorf("journal has %+v, want %q", records, values)
	}
}

// calls lists the API's requests as "METHOD path status", with ids shortened.
func (s *setup) calls() []string {
	var all []string
	for _, r := range s.world.API.Requests() {
		path, _, _ := strings.Cut(strings.TrimPrefix(r.Path, "/client/v4"), "?")
		parts := strings.Split(path, "/")
		for i, p := range parts {
			if len(p) == 32 {
				parts[i] = "ID"
			}
		}
		all = append(all, fmt.Sprintf("%s %s %d", r.Method, strings.Join(parts, "/"), r.Status))
	}
	return all
}

// expect fails unless err has this text and hint.
func expect(t *testing.T, err error, text, hint string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", text)
	}
	if err.Error() != text {
		t.Errorf("error\n got %s\nwant %s", err, text)
	}
	if got := cloudflare.Hint(err); got != hint {
		t.Errorf("hint\n got %s\nwant %s", got, hint)
	}
}

// method matches requests by their method and the end of their path.
func method(name, suffix string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == name && strings.HasSuffix(r.URL.Path, suffix) }
}

package tlsmgr

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

// A token of the stand-in API; its form is that of old tokens.
const (
	tokenCom = "tokenComTokenComTokenComTokenComTokenCom"
	tokenNet = "tokenNetTokenNetTokenNetTokenNetTokenNet"
	tokenNew = "tokenNewTokenNewTokenNewTokenNewTokenNew"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// rig is a manager against a world of its own.
type rig struct {
	t         testing.TB
	world     *acmetest.World
	manager   *Manager
	log       *logbook
	storage   string
	tokenFile string // of the credential "com"
	adjust    func(*Settings)
}

func newRig(t testing.TB, options acmetest.Options) *rig {
	t.Helper()
	if options.Zones == nil {
		options.Zones = []string{"example.com", "example.net"}
	}
	world, err := acmetest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	})
	world.API.AddToken(acmetest.Token{Value: tokenCom, Zones: []string{"example.com"}})
	world.API.AddToken(acmetest.Token{Value: tokenNet, Zones: []string{"example.net"}})
	dir := t.TempDir()
	r := &rig{t: t, world: world, storage: filepath.Join(dir, "storage"), tokenFile: filepath.Join(dir, "com.token")}
	r.writeToken(tokenCom)
	r.fresh()
	return r
}

// fresh replaces the manager by a new one, as a new process would have.
func (r *rig) fresh() {
	r.t.Helper()
	r.log = newLogbook()
	manager, err := New(Options{Logger: zap.New(r.log), FilePoll: 20 * time.Millisecond})
	if err != nil {
		r.t.Fatal(err)
	}
	r.manager = manager
}

// writeToken replaces the token file of "com", as people do: a new file and a
// rename.
func (r *rig) writeToken(token string) {
	r.t.Helper()
	next := r.tokenFile + ".next"
	if err := os.WriteFile(next, []byte(token+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(next, r.tokenFile); err != nil {
		r.t.Fatal(err)
	}
}

// settings plans names, issued by ACME.
func (r *rig) settings(names ...string) Settings {
	sites := make([]PlannedSite, len(names))
	for i, name := range names {
		sites[i] = PlannedSite{Name: name, Issuer: IssuerACME}
	}
	return r.settingsOf(sites...)
}

func (r *rig) settingsOf(sites ...PlannedSite) Settings {
	netToken := filepath.Join(filepath.Dir(r.tokenFile), "net.token")
	if err := os.WriteFile(netToken, []byte(tokenNet), 0o600); err != nil {
		r.t.Fatal(err)
	}
	credential := func(name, zone, file string) cloudflare.Credential {
		return cloudflare.Credential{
			Name: name, Zones: []string{zone}, Source: cloudflare.File(file),
			APIURL: r.world.API.URL, Roots: r.world.Roots(),
		}
	}
	credentials := []cloudflare.Credential{
		credential("com", "example.com", r.tokenFile),
		credential("net", "example.net", netToken),
	}
	settings := Settings{
		Plan: NewPlan(sites, r.world.DirectoryURL, zoneIndex(credentials)),
		ACME: ACMESettings{
			Directory: r.world.DirectoryURL,
			Email:     "ops@example.com",
			ARI:       true,
			Resolvers: []string{r.world.DNS.Addr},
			Roots:     r.world.Roots(),
		},
		Cloudflare: cloudflare.Options{
			Credentials:         credentials,
			Resolver:            r.world.Resolver(),
			NameServers:         []string{r.world.DNS.Addr},
			PropagationInterval: 20 * time.Millisecond,
		},
		Storage: r.storage,
	}
	if r.adjust != nil {
		r.adjust(&settings)
	}
	return settings
}

func (r *rig) apply(settings Settings) {
	r.t.Helper()
	if err := r.manager.Apply(settings); err != nil {
		r.t.Fatal(err)
	}
}

// run runs the manager until the returned function is called, which waits for
// its end and fails the test if a goroutine of it is left.
func (r *rig) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	label := fmt.Sprintf("rig-%p", r.manager)
	done := make(chan error, 1)
	go pprof.Do(ctx, pprof.Labels("tlsmgr_rig", label), func(ctx context.Context) { done <- r.manager.Run(ctx) })
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					r.t.Errorf("Run: %v", err)
				}
			case <-time.After(patience):
				r.t.Error("Run does not return")
			}
			r.noGoroutines(label)
		})
	}
	r.t.Cleanup(stop)
	return stop
}

// noGoroutines fails the test if goroutines with a label are left. Connections
// that net/http keeps for later are not ours to close.
func (r *rig) noGoroutines(label string) {
	r.t.Helper()
	var left []string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		var profile bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
			r.t.Fatal(err)
		}
		left = nil
		for part := range strings.SplitSeq(profile.String(), "\n\n") {
			// The pprof.Do goroutine itself may be about to end.
			if strings.Contains(part, label) && !strings.Contains(part, "net/http") && !strings.Contains(part, "http2") {
				left = append(left, part)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	r.t.Errorf("goroutines left after Run:\n%s", strings.Join(left, "\n\n"))
}

// handshake makes a TLS handshake for a name, as a client that trusts the
// world's issuing root, and returns the certificate that was served.
func (r *rig) handshake(name string) (*x509.Certificate, error) {
	return handshake(r.manager, name, r.world.IssuingRoots())
}

func handshake(m *Manager, name string, roots *x509.CertPool) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	clientSide, serverSide := net.Pipe()
	served := make(chan error, 1)
	go func() {
		server := tls.Server(serverSide, &tls.Config{GetCertificate: m.GetCertificate})
		err := server.HandshakeContext(ctx)
		served <- errors.Join(err, serverSide.Close())
	}()
	client := tls.Client(clientSide, &tls.Config{ServerName: name, RootCAs: roots})
	err := client.HandshakeContext(ctx)
	_ = clientSide.Close()
	serverErr := <-served
	if err != nil {
		return nil, errors.Join(err, serverErr)
	}
	return client.ConnectionState().PeerCertificates[0], nil
}

func (r *rig) serves(name string) *x509.Certificate {
	r.t.Helper()
	leaf, err := r.handshake(name)
	if err != nil {
		r.t.Fatalf("handshake for %s: %v\n%s", name, err, r.log)
	}
	return leaf
}

// status returns the status of a name.
func (r *rig) status(name string) Status {
	r.t.Helper()
	for _, status := range r.manager.Status() {
		if status.Name == name {
			return status
		}
	}
	r.t.Fatalf("no status for %s", name)
	return Status{}
}

// orders counts the accepted orders per name.
func (r *rig) orders() map[string]int {
	count := make(map[string]int)
	for _, order := range r.world.ACME.Orders() {
		count[strings.Join(order.Names, ",")]++
	}
	return count
}

// logbook is a zapcore.Core that keeps every line and lets tests wait for one.
type logbook struct {
	mu    sync.Mutex
	lines []line
	more  chan struct{} // closed and replaced with each line
}

type line struct {
	zapcore.Entry
	fields map[string]any
	text   string
}

func newLogbook() *logbook { return &logbook{more: make(chan struct{})} }

func (b *logbook) Enabled(zapcore.Level) bool { return true }
func (b *logbook) Sync() error                { return nil }
func (b *logbook) With(fields []zapcore.Field) zapcore.Core {
	return &logbookWith{b, fields}
}
func (b *logbook) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return checked.AddCore(entry, b)
}
func (b *logbook) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	encoder := zapcore.NewMapObjectEncoder()
	for _, field := range fields {
		field.AddTo(encoder)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	text := fmt.Sprintf("%s %s %s %v", entry.Level, entry.LoggerName, entry.Message, encoder.Fields)
	b.lines = append(b.lines, line{entry, encoder.Fields, text})
	close(b.more)
	b.more = make(chan struct{})
	return nil
}

type logbookWith struct {
	*logbook
	fields []zapcore.Field
}

func (b *logbookWith) With(fields []zapcore.Field) zapcore.Core {
	return &logbookWith{b.logbook, slices.Concat(b.fields, fields)}
}
func (b *logbookWith) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return checked.AddCore(entry, b)
}
func (b *logbookWith) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	return b.logbook.Write(entry, slices.Concat(b.fields, fields))
}

// find returns the lines above debug level that begin with that message, of one
// identifier if it is given.
func (b *logbook) find(message, identifier string) []line {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []line
	for _, l := range b.lines {
		if l.Level > zapcore.DebugLevel && strings.HasPrefix(l.Message, message) && (identifier == "" || l.fields["identifier"] == identifier) {
			found = append(found, l)
		}
	}
	return found
}

// await waits until there are n such lines and returns the last.
func (b *logbook) await(t testing.TB, n int, message, identifier string) line {
	t.Helper()
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		more := b.more
		b.mu.Unlock()
		if found := b.find(message, identifier); len(found) >= n {
			return found[n-1]
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("no %d lines %q for %q in the log:\n%s", n, message, identifier, b)
		}
	}
}

// String returns the lines above debug level.
func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var text strings.Builder
	for _, l := range b.lines {
		if l.Level > zapcore.DebugLevel {
			text.WriteString(l.text + "\n")
		}
	}
	return text.String()
}

// everything returns all lines.
func (b *logbook) everything() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var text strings.Builder
	for _, l := range b.lines {
		text.WriteString(l.text + "\n")
	}
	return text.String()
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// demo is a service behind the proxy.
type demo struct {
	listener net.Listener
	server   *http.Server
	served   sync.WaitGroup
}

// startDemo serves one page that names the service and shows what the proxy
// told it about the request.
func startDemo(name string) (*demo, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &demo{listener: listener}
	d.server = &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "hello from %s\nhost: %s\nx-forwarded-proto: %s\nx-forwarded-for: %s\n",
				name, r.Host, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-For"))
		}),
	}
	d.served.Go(func() { _ = d.server.Serve(listener) })
	return d, nil
}

func (d *demo) url() string { return "http://" + d.listener.Addr().String() }

func (d *demo) close() error {
	err := d.server.Close()
	d.served.Wait()
	return err
}

// freeAddress returns preferred if it can be bound, else an address with a
// port that was free just now.
func freeAddress(ctx context.Context, preferred string) (string, error) {
	var listen net.ListenConfig
	for _, address := range []string{preferred, "127.0.0.1:0"} {
		listener, err := listen.Listen(ctx, "tcp", address)
		if err != nil {
			continue
		}
		address = listener.Addr().String()
		return address, listener.Close()
	}
	return "", errors.New("no free port on 127.0.0.1")
}

// stage is what the configuration of the sandbox needs to know.
type stage struct {
	dir                     string
	http, https             string // addresses to listen on
	directoryURL, apiURL    string
	dns                     string
	firstDemo, wildcardDemo string
}

// Files in the sandbox's directory.
const (
	configFile  = "sallyport.yaml"
	tokenFile   = "cloudflare.token"
	rootFile    = "sandbox-root.pem" // signs the stand-ins' own certificates
	issuingFile = "ca.pem"           // what a client must trust
)

// The names that the sandbox serves.
const (
	zone         = "example.test"
	ordinaryName = "app.example.test"
	wildcardName = "*.apps.example.test"
	underIt      = "shop.apps.example.test"
)

// validity is how long certificates live. The CA advises to renew them in the
// middle of it, so that a renewal can be watched.
const validity = 24 * time.Second

// configuration is what a user would write, plus the addresses of the
// stand-ins.
func (s stage) configuration() string {
	return fmt.Sprintf(`listen: {http: %q, https: %q}
storage: %q
acme:
  email: ops@example.test
  ca: %q
  ca_root: %s
  resolvers: [%q]
  propagation: {servers: [%q], interval: 100ms}
cloudflare:
  - zones: [%s]
    token_file: %s
    api_url: %q
    api_root: %s
sites:
  %s: %s
  %q: %s
`, s.http, s.https, filepath.Join(s.dir, "storage"), s.directoryURL, rootFile, s.dns, s.dns,
		zone, tokenFile, s.apiURL, rootFile, ordinaryName, s.firstDemo, wildcardName, s.wildcardDemo)
}

// poison is the environment that sallyport is started in: every variable that
// has ever beaten a configured token or bent a connection, set to something
// that would break it.
func poison(tripwire string) []string {
	return []string{
		"CF_API_KEY=0123456789abcdef0123456789abcdef01234", "CF_API_EMAIL=stale@example.test",
		"CF_API_TOKEN=stale", "CF_DNS_API_TOKEN=stale", "CF_ZONE_API_TOKEN=stale",
		"CLOUDFLARE_API_TOKEN=stale", "CLOUDFLARE_API_KEY=stale", "CLOUDFLARE_EMAIL=stale@example.test",
		"CLOUDFLARE_CFG=/nonexistent", "CLOUDFLARE_DNS_API_TOKEN=stale",
		"HTTP_PROXY=http://" + tripwire, "HTTPS_PROXY=http://" + tripwire, "ALL_PROXY=http://" + tripwire,
		"http_proxy=http://" + tripwire, "https_proxy=http://" + tripwire,
		"SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=/nonexistent", "HOME=/nonexistent",
		"GODEBUG=http2debug=1",
	}
}

// writeFile writes a file that only its owner reads, in one step.
func writeFile(dir, name string, content []byte) error {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

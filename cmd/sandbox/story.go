package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

// patience bounds each step that waits for something to happen.
const patience = 45 * time.Second

// story is the sandbox's run: a stage that is set up step by step, each step
// seen to hold before the next.
type story struct {
	dir, binary string
	out         io.Writer // safe for concurrent use: the log of the process goes there too

	stage    stage
	world    *acmetest.World
	tripwire *acmetest.Tripwire
	demos    []*demo
	process  *process
	token    string // the one in force
	visitors *visitors
}

func (s *story) sayf(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format, args...) }

// tell runs every step and stops at the first that does not hold.
func (s *story) tell(ctx context.Context) error {
	steps := []struct {
		title string
		run   func(context.Context) (string, error)
	}{
		{"set the stage: test CA, stand-in Cloudflare API and DNS, two services", s.setStage},
		{"build sallyport and start it in a poisoned environment", s.start},
		{"the process has no environment at all", s.sealed},
		{"an ordinary certificate is obtained and serves " + ordinaryName, s.ordinary},
		{"a wildcard certificate is obtained and serves " + underIt, s.wildcard},
		{"a certificate is renewed while visitors keep coming", s.renewal},
		{"the token is rotated: new one in the file, old one revoked, no restart", s.rotation},
		{"no stale credential and no proxy was ever used", s.untouched},
	}
	for number, step := range steps {
		s.sayf("\n[%d/%d] %s\n", number+1, len(steps), step.title)
		began := time.Now()
		bounded, cancel := context.WithTimeout(ctx, patience)
		seen, err := step.run(bounded)
		cancel()
		if err != nil {
			s.sayf("  no  %v\n", err)
			return fmt.Errorf("step %d did not hold: %s: %w", number+1, step.title, err)
		}
		s.sayf("  ok  %s (%.1f s)\n", seen, time.Since(began).Seconds())
	}
	s.sayf("\nTry it yourself:\n\n  curl --cacert %s --resolve %s:%s:127.0.0.1 https://%s:%s/\n",
		filepath.Join(s.dir, issuingFile), ordinaryName, s.port(), ordinaryName, s.port())
	return nil
}

// wait keeps everything running until ctx ends.
func (s *story) wait(ctx context.Context) error {
	s.visitors.stop()
	select {
	case <-ctx.Done():
		return nil
	case <-s.process.ended:
		return fmt.Errorf("sallyport ended: %w", s.process.err)
	}
}

// close ends all that was started, last first.
func (s *story) close() error {
	var errs []error
	if s.visitors != nil {
		s.visitors.stop()
	}
	if s.process != nil {
		errs = append(errs, s.process.stop())
	}
	for _, d := range s.demos {
		errs = append(errs, d.close())
	}
	if s.world != nil {
		errs = append(errs, s.world.Close())
	}
	if s.tripwire != nil {
		errs = append(errs, s.tripwire.Close())
	}
	return errors.Join(errs...)
}

func (s *story) setStage(ctx context.Context) (string, error) {
	var err error
	if s.world, err = acmetest.Start(acmetest.Options{Zones: []string{zone}, Validity: validity}); err != nil {
		return "", err
	}
	if s.tripwire, err = acmetest.StartTripwire(); err != nil {
		return "", err
	}
	for _, name := range []string{"the first service", "the second service"} {
		d, err := startDemo(name)
		if err != nil {
			return "", err
		}
		s.demos = append(s.demos, d)
	}
	s.stage = stage{
		dir:          s.dir,
		directoryURL: s.world.DirectoryURL,
		apiURL:       s.world.API.URL,
		dns:          s.world.DNS.Addr,
		firstDemo:    s.demos[0].url(),
		wildcardDemo: s.demos[1].url(),
	}
	if s.stage.http, err = freeAddress(ctx, "127.0.0.1:8080"); err != nil {
		return "", err
	}
	if s.stage.https, err = freeAddress(ctx, "127.0.0.1:8443"); err != nil {
		return "", err
	}
	s.token = "cfut_first" + strings.Repeat("1", 43)
	s.world.API.AddToken(zoneToken(s.token))
	for name, content := range map[string][]byte{
		rootFile:    s.world.RootPEM,
		issuingFile: s.world.IssuingRootPEM(),
		tokenFile:   []byte(s.token + "\n"),
		configFile:  []byte(s.stage.configuration()),
	} {
		if err := writeFile(s.dir, name, content); err != nil {
			return "", err
		}
	}
	s.sayf("\n%s\n", indent(s.stage.configuration()))
	return "everything listens on 127.0.0.1; files are in " + s.dir, nil
}

// zoneToken is a token with least privilege: one zone, two permissions.
func zoneToken(value string) acmetest.Token {
	return acmetest.Token{
		Value:       value,
		Zones:       []string{zone},
		Permissions: acmetest.ZoneRead | acmetest.DNSEdit,
	}
}

func (s *story) start(ctx context.Context) (string, error) {
	if s.binary == "" {
		// The build is not the program's: it gets as long as it needs.
		binary, err := build(context.WithoutCancel(ctx), s.dir)
		if err != nil {
			return "", err
		}
		s.binary = binary
	}
	var err error
	s.process, err = startProcess(s.binary, filepath.Join(s.dir, configFile), poison(s.tripwire.Addr()), s.out)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("process %d, with %d stale variables", s.process.cmd.Process.Pid, len(poison(""))), nil
}

// sealed waits for the first page, by which time sealing is long done, and
// then looks at what the kernel holds.
func (s *story) sealed(ctx context.Context) (string, error) {
	if _, err := s.visit(ctx, ordinaryName); err != nil {
		return "", err
	}
	environment, err := s.process.environment()
	switch {
	case err != nil:
		return "", err
	case environment != "":
		return "", fmt.Errorf("/proc/%d/environ has %d bytes", s.process.cmd.Process.Pid, len(environment))
	}
	return fmt.Sprintf("/proc/%d/environ is empty, and the process ID is still the one that was started", s.process.cmd.Process.Pid), nil
}

func (s *story) ordinary(ctx context.Context) (string, error) {
	return s.served(ctx, ordinaryName, ordinaryName, "hello from the first service")
}

func (s *story) wildcard(ctx context.Context) (string, error) {
	return s.served(ctx, underIt, wildcardName, "hello from the second service")
}

// served checks that name is served with a certificate for subject and that
// the right service answers.
func (s *story) served(ctx context.Context, name, subject, greeting string) (string, error) {
	seen, err := s.visit(ctx, name)
	if err != nil {
		return "", err
	}
	if len(seen.certificate.DNSNames) != 1 || seen.certificate.DNSNames[0] != subject {
		return "", fmt.Errorf("%s got a certificate for %v, not for %s", name, seen.certificate.DNSNames, subject)
	}
	if !strings.HasPrefix(seen.body, greeting) {
		return "", fmt.Errorf("%s answered %q", name, seen.body)
	}
	return fmt.Sprintf("https://%s answers %q; certificate for %s by %s", name, greeting, subject, seen.certificate.Issuer.CommonName), nil
}

func (s *story) renewal(ctx context.Context) (string, error) {
	s.visitors = welcome(s.client(), s.url(ordinaryName))
	before, after, err := s.awaitRenewal(ctx, ordinaryName)
	if err != nil {
		return "", err
	}
	requests, failures, first := s.visitors.count()
	if failures > 0 {
		return "", fmt.Errorf("%d of %d visits failed, the first with: %w", failures, requests, first)
	}
	return fmt.Sprintf("serial %s became %s; %d visits on new connections, none failed", before, after, requests), nil
}

func (s *story) rotation(ctx context.Context) (string, error) {
	old := s.token
	s.token = "cfut_second" + strings.Repeat("2", 42)
	s.world.API.AddToken(zoneToken(s.token))
	if err := writeFile(s.dir, tokenFile, []byte(s.token+"\n")); err != nil {
		return "", err
	}
	s.world.API.RevokeToken(old)
	s.world.API.ResetRequests()
	if _, _, err := s.awaitRenewal(ctx, ordinaryName); err != nil {
		return "", err
	}
	byNew := 0
	for _, request := range s.world.API.Requests() {
		if request.Token == s.token && request.Status < 300 {
			byNew++
		}
	}
	if byNew == 0 {
		return "", errors.New("the new token was not used")
	}
	return fmt.Sprintf("the next renewal used the new token in %d calls", byNew), nil
}

func (s *story) untouched(context.Context) (string, error) {
	requests, failures, first := s.visitors.count()
	if failures > 0 {
		return "", fmt.Errorf("%d of %d visits failed, the first with: %w", failures, requests, first)
	}
	for _, request := range s.world.API.Requests() {
		for name := range request.Header {
			if strings.HasPrefix(name, "X-Auth-") {
				return "", fmt.Errorf("the API got the header %s", name)
			}
		}
	}
	if n := s.tripwire.Count(); n > 0 {
		return "", fmt.Errorf("the proxy of the environment got %d connections", n)
	}
	log := s.process.logged()
	for _, secret := range []string{s.token, "Authorization", "stale@example.test"} {
		if strings.Contains(log, secret) {
			return "", errors.New("the log shows a secret")
		}
	}
	return fmt.Sprintf("no X-Auth header at the API, no connection to the proxy, no secret in the log; %d visits in all, none failed", requests), nil
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}

func (s *story) port() string {
	_, port, _ := net.SplitHostPort(s.stage.https)
	return port
}

func (s *story) url(name string) string { return "https://" + net.JoinHostPort(name, s.port()) + "/" }

// client trusts the test CA and no other, goes straight to the proxy, and
// makes a new connection for each request, so each is a handshake.
func (s *story) client() *http.Client {
	return &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: s.world.IssuingRoots()},
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				var dialer net.Dialer
				return dialer.DialContext(ctx, network, s.stage.https)
			},
		},
	}
}

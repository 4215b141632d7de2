package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport/sallyport/proxy/admin"
	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

// launchReadOnly runs sallyport where the file system at storage is read-only.
func launchReadOnly(t *testing.T, storage, config string) *instance {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$0" run --config "$2"`, link(t, exe), storage, config)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return launch(t, cmd)
}

func needsMounts(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	cmd := exec.Command("/bin/sh", "-c", `mount --bind "$0" "$0"`, t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("no mount namespace: %v %s", err, out)
	}
}

// What is there is served from a storage that cannot be written, and it is said
// at once, not at the first renewal weeks later.
func TestReadOnlyStorageIsServedFromAndTold(t *testing.T) {
	needsMounts(t)
	world, _ := internet(t, "example.test")
	world.API.AddToken(acmetest.Token{Value: configuredToken, Zones: []string{"example.test"}})
	dir := shortDir(t)
	storage := filepath.Join(dir, "storage")
	config := "admin: {socket: s.sock}\n" + worldConfig(t, dir, world, configuredToken, "example.test") + "sites: {a.example.test: {respond: ok}}\n"
	path := writeConfig(t, dir, config)
	i := start(t, nil, "run", "--config", path)
	i.awaitMessage("certificate obtained")
	i.stop(syscall.SIGTERM)

	// As after restoring a backup: what cannot be mended is no reason either.
	if err := os.Chmod(storage, 0o755); err != nil {
		t.Fatal(err)
	}
	orders := len(world.ACME.Orders())
	i = launchReadOnly(t, storage, path)
	c, err := tls.Dial("tcp", i.https(), &tls.Config{ServerName: "a.example.test", RootCAs: certPool(t, world.IssuingRootPEM())})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	line := i.awaitMessage("the storage cannot be written: certificates that it has are served, and none can be obtained or renewed")
	if hint, _ := line.fields["hint"].(string); line.fields["level"] != "error" || !strings.Contains(hint, "writable") {
		t.Errorf("it logs %s", line.raw)
	}
	i.awaitMessage("storage directory is open to others and cannot be made private: the file system is read-only")
	var s admin.Status
	asked(t, path, &s, "status")
	if s.Storage == nil || !strings.Contains(s.Storage.Message, "read-only") || !strings.Contains(s.Storage.Hint, "writable") {
		t.Errorf("status says %+v", s.Storage)
	}
	var out, errs strings.Builder
	if execute(sealing{}, []string{"status", "--config", path}, &out, &errs); !strings.Contains(out.String(), "no certificate can be kept: storage: write") {
		t.Errorf("status prints %s%s", out.String(), errs.String())
	}
	// A renewal that is asked for fails, and what is served stays.
	if code := execute(sealing{}, []string{"renew", "--config", path, "a.example.test"}, &out, &errs); code != exitOK {
		t.Fatal(errs.String())
	}
	failed, _ := i.await(0, "a renewal that failed", func(l logLine) bool { return strings.HasPrefix(l.message(), "certificate not ") })
	if text, _ := failed.fields["error"].(string); !strings.Contains(text, "read-only") || len(world.ACME.Orders()) != orders {
		t.Errorf("a renewal: %s; %d orders, %d before", failed.raw, len(world.ACME.Orders()), orders)
	}
	c, err = tls.Dial("tcp", i.https(), &tls.Config{ServerName: "a.example.test", RootCAs: certPool(t, world.IssuingRootPEM())})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	i.stop(syscall.SIGTERM)
	if i.endErr != nil {
		t.Errorf("it ended with %v", i.endErr)
	}
}

// With nothing to serve there is no use in running.
func TestEmptyReadOnlyStorageIsRefused(t *testing.T) {
	needsMounts(t)
	world, _ := internet(t, "example.test")
	world.API.AddToken(acmetest.Token{Value: configuredToken, Zones: []string{"example.test"}})
	dir := shortDir(t)
	storage := filepath.Join(dir, "storage")
	if err := os.Mkdir(storage, 0o700); err != nil {
		t.Fatal(err)
	}
	head := "admin: {socket: s.sock}\n"
	for name, text := range map[string]string{
		"ACME":        head + worldConfig(t, dir, world, configuredToken, "example.test") + "sites: {a.example.test: {respond: ok}}\n",
		"internal CA": head + "sites: {a.localhost: {respond: ok}}\n",
	} {
		i := launchReadOnly(t, storage, writeConfig(t, dir, text))
		<-i.ended
		if i.endErr == nil || !strings.Contains(i.log(), "read-only file system") || !strings.Contains(i.log(), "hint: mount "+storage+" writable") {
			t.Errorf("%s: %v\n%s", name, i.endErr, i.log())
		}
	}
	if len(world.ACME.Orders()) > 0 {
		t.Error("a certificate was ordered that could not be kept")
	}
}

func certPool(t *testing.T, pem []byte) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate")
	}
	return pool
}

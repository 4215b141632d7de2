package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/tlsmgr"
)

// examined returns doctor's report, without the outside world.
func examined(t *testing.T, path string) string {
	t.Helper()
	cfg, problems := config.Load(path)
	settings, more := tlsmgr.FromConfig(cfg, tlsmgr.FromOptions{})
	var out strings.Builder
	for _, f := range Examine(t.Context(), Options{
		Path: path, Config: cfg, Settings: settings, Problems: append(problems, more...), Offline: true, Misleading: cloudflareVariables,
	}) {
		_, _ = fmt.Fprintf(&out, "%s %s %s\n", f.Level, f.Check, f.Message)
	}
	return out.String()
}

func cloudflareVariables(variables []string) []string {
	var names []string
	for _, one := range variables {
		if name, _, _ := strings.Cut(one, "="); strings.HasPrefix(name, "CF_") || strings.HasPrefix(name, "CLOUDFLARE_") || strings.HasSuffix(name, "_proxy") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func writeConfig(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "sallyport.yaml")
	writeFile(t, path, "listen: {http: \"127.0.0.1:0\", https: \"127.0.0.1:0\"}\nstorage: storage\n"+text)
	return path
}

const internalSite = "sites: {app.localhost: \"http://127.0.0.1:9\"}\n"

func TestDoctorShowsNamesOfVariablesAndNoValues(t *testing.T) {
	got := (&doctor{Options: Options{Misleading: cloudflareVariables}}).misleading([]byte("PATH=/bin\x00CF_API_KEY=hunter2\x00https_proxy=http://u:hunter2@p\x00CLOUDFLARE_EMAIL=a=b\x00CFX=1\x00"))
	if want := []string{"CF_API_KEY", "CLOUDFLARE_EMAIL", "https_proxy"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestUnitFilesAreReadAsSystemdDoes(t *testing.T) {
	u := parseUnit("[Service]\n# Environment=A=1\nEnvironment=CF_A=1\nEnvironment=\nEnvironment=CF_B=2 \\\n  CF_C=3\n;x=y\nTimeoutStopSec = 1min 30s\n")
	if got := fmt.Sprint(u["Environment"]); got != "[CF_B=2    CF_C=3]" {
		t.Errorf("Environment %s", got)
	}
	for text, want := range map[string]time.Duration{"40": 40 * time.Second, "1min 30s": 90 * time.Second, "5s": 5 * time.Second, "500ms": 500 * time.Millisecond} {
		if got, ok := unitTime(text); !ok || got != want {
			t.Errorf("%q is %v, %t", text, got, ok)
		}
	}
	for _, text := range []string{"", "infinity"} {
		if got, ok := unitTime(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// store puts a certificate into a storage as if it had been obtained.
func store(t *testing.T, dir, name string, begins, ends time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: begins, NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "storage", "certificates", "acme-v02.api.letsencrypt.org-directory", name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(folder, name+".crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func TestDoctorTellsWhichRenewalsAreDueAndWhatIsLeftOfTheWeek(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "token"), "cfut_good0000000000000000000000000000000000000000000000")
	text := "acme: {email: ops@sallyport.dev}\ncloudflare: [{zones: [one.test, two.test], token_file: token}]\nsites:\n"
	now, day := time.Now(), 24*time.Hour
	for name, ends := range map[string]time.Duration{"expired": -day, "overdue": 10 * day, "due": 25 * day, "fresh": 60 * day} {
		text += "  " + name + ".one.test: http://127.0.0.1:1\n"
		store(t, dir, name+".one.test", now.Add(ends-90*day), now.Add(ends))
	}
	for i := range 42 {
		name := fmt.Sprintf("n%d.two.test", i)
		text += "  " + name + ": http://127.0.0.1:1\n"
		if i%2 == 0 {
			store(t, dir, name, now.Add(-day), now.Add(89*day))
		}
	}
	report := examined(t, writeConfig(t, dir, text))
	for _, want := range []string{
		"ERROR certificates the certificate of expired.one.test expired on ",
		"warning certificates the certificate of overdue.one.test ends on ",
		"note certificates the certificate of due.one.test is due for renewal",
		"ok certificates 22 of 46 certificates are stored and not due",
		"note certificates 21 of 46 certificates are still to be ordered",
		"note rate_limit two.test: 21 certificates in the last 7 days and 21 to order, of 50",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
}

func TestDoctorNamesAStorageThatCannotBeWritten(t *testing.T) {
	if os.Geteuid() == 0 {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "storage"), "a file")
		if report := examined(t, writeConfig(t, dir, internalSite)); !strings.Contains(report, "is not a directory") {
			t.Errorf("report:\n%s", report)
		}
		return // root may write everywhere
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "storage"), 0o500); err != nil {
		t.Fatal(err)
	}
	if report := examined(t, writeConfig(t, dir, internalSite)); !strings.Contains(report, "ERROR storage storage "+filepath.Join(dir, "storage")+" cannot be written: permission denied") {
		t.Errorf("report:\n%s", report)
	}
}

func TestDoctorLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := writeConfig(t, dir, internalSite)
	examined(t, path)
	if _, err := os.Stat(filepath.Join(dir, "storage")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("doctor made the storage: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "storage"), 0o700); err != nil {
		t.Fatal(err)
	}
	examined(t, path)
	if left, err := os.ReadDir(filepath.Join(dir, "storage")); err != nil || len(left) > 0 {
		t.Errorf("doctor left %v, %v", left, err)
	}
}

func TestDoctorNamesWhoHoldsAPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := new(doctor).port(t.Context(), "tcp", l.Addr().String())
	if want := fmt.Sprintf("taken by %s (pid %d)", commandOf(os.Getpid()), os.Getpid()); f.Level != Error || !strings.Contains(f.Message, want) {
		t.Errorf("%+v, want %q", f, want)
	}
}

func TestDoctorNamesFilesThatWillNotDo(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "admin.token"), "short")
	writeFile(t, filepath.Join(dir, "users"), "a:$2y$10$abcdefghijklmnopqrstuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu\n")
	for _, name := range []string{"admin.token", "users"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "sallyport.yaml")
	writeFile(t, path, `listen: {http: "127.0.0.1:0", https: "127.0.0.1:0"}
storage: storage
log: {output: nowhere/log, access: {output: elsewhere/access}}
admin: {socket: missing/sock, listen: "127.0.0.1:0", token_file: admin.token}
sites:
  a.localhost: {basic_auth: {users_file: users}, proxy: "http://127.0.0.1:1"}
`)
	report := examined(t, path)
	for _, want := range []string{
		"admin.token_file: the token is too short",
		"admin.token holds secrets and can be read by everybody (mode 0644)",
		"users holds secrets and can be read by everybody",
		"log " + dir + "/nowhere/log: the folder " + dir + "/nowhere does not exist",
		"the folder " + dir + "/elsewhere does not exist",
		"the folder " + dir + "/missing does not exist",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
}

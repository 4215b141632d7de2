package tlsmgr

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/config/secret"
)

// parse reads a configuration that must be valid by itself.
func parse(t *testing.T, source string) *config.Config {
	t.Helper()
	cfg, problems := config.Parse("sallyport.yaml", []byte(source))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestFromConfigPlansTheExampleOfTheDesign(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "com"), []byte(tokenCom))
	write(t, filepath.Join(dir, "rest"), []byte(tokenNet))
	old := newPair(t, time.Now().Add(time.Hour), "old.example.com")
	write(t, filepath.Join(dir, "old.pem"), old.certificate)
	write(t, filepath.Join(dir, "old.key"), old.key)
	cfg := parse(t, fmt.Sprintf(`
acme: {email: ops@example.com, ca: letsencrypt-staging}
storage: /var/lib/sallyport
cloudflare:
  - {name: main, zones: [example.com], token_file: %[1]s/com}
  - {zones: [example.net, example.org], credential: rest}
sites:
  example.com: {aliases: [example.net], proxy: "http://a:1"}
  "*.apps.example.org": http://apps:8080
  one.apps.example.org: http://apps:8080
  app.localhost: http://127.0.0.1:5173
  old.example.com: {tls: {certificate: %[1]s/old.pem, key: %[1]s/old.key}, proxy: "http://b:1"}
`, dir))
	settings, problems := FromConfig(cfg, FromOptions{CredentialsDir: dir})
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	var plan strings.Builder
	for _, e := range settings.Plan {
		fmt.Fprintln(&plan, e.Name, e.Issuer, e.Challenge, e.Zone, e.Credential, e.CoveredBy, e.Sites)
	}
	const want = `*.apps.example.org acme dns-01 example.org example.net  [*.apps.example.org]
app.localhost internal     [app.localhost]
example.com acme dns-01 example.com main  [example.com]
example.net acme dns-01 example.net example.net  [example.com]
old.example.com file     [old.example.com]
one.apps.example.org acme dns-01 example.org example.net *.apps.example.org [one.apps.example.org]
`
	if plan.String() != want {
		t.Errorf("plan:\n%s\nwant:\n%s", plan.String(), want)
	}
	if !strings.Contains(settings.ACME.Directory, "staging") || !strings.HasPrefix(settings.ACME.Directory, "https://") {
		t.Errorf("directory %q", settings.ACME.Directory)
	}
	if settings.ACME.Roots == nil || settings.Cloudflare.Resolver == nil {
		t.Error("roots or resolver would be taken from the machine")
	}
	if source := settings.Cloudflare.Credentials[1].Source.String(); !strings.Contains(source, filepath.Join(dir, "rest")) {
		t.Errorf("credential comes from %q", source)
	}
}

func TestFromConfigReportsEachFileAtItsLine(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	mine, other := newPair(t, now.Add(time.Hour), "app.example.com"), newPair(t, now.Add(time.Hour), "other.example.com")
	expired := newPair(t, now.Add(-time.Hour), "app.example.com")
	for name, content := range map[string][]byte{
		"mine.pem": mine.certificate, "mine.key": mine.key, "other.key": other.key, "other.pem": other.certificate,
		"expired.pem": expired.certificate, "expired.key": expired.key, "junk": []byte("junk"), "empty": nil, "bearer": []byte("Bearer " + tokenCom), "global": []byte("c2547eb745079dac9320b638f5e225cf483cc"), "token": []byte(tokenCom),
	} {
		write(t, filepath.Join(dir, name), content)
	}
	open := filepath.Join(dir, "open")
	write(t, open, []byte(tokenCom))
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, source  string
		path, message string
		warning       bool
	}{
		{"certificate missing", "TLS: nowhere.pem mine.key", "sites[app.example.com].tls.certificate", "no such file", false},
		{"key missing", "TLS: mine.pem nowhere.key", "sites[app.example.com].tls.key", "no such file", false},
		{"certificate is no certificate", "TLS: junk mine.key", "sites[app.example.com].tls.certificate", "junk", false},
		{"key is no key", "TLS: mine.pem junk", "sites[app.example.com].tls.key", "junk", false},
		{"key of another certificate", "TLS: mine.pem other.key", "sites[app.example.com].tls.key", "not the key of", false},
		{"certificate for another name", "TLS: other.pem other.key", "sites[app.example.com].tls.certificate", "not for app.example.com", false},
		{"certificate expired", "TLS: expired.pem expired.key", "sites[app.example.com].tls.certificate", "expired on", true},
		{"token file missing", "token_file: DIR/nowhere", "cloudflare[0].token_file", "nowhere", false},
		{"token file empty", "token_file: DIR/empty", "cloudflare[0].token_file", "empty", false},
		{"token file open to all", "token_file: DIR/open", "cloudflare[0].token_file", "open", false},
		{"token malformed", "token_file: DIR/bearer", "cloudflare[0].token_file", "bearer", false},
		{"Global API Key", "token_file: DIR/global", "cloudflare[0].token_file", "Global API Key", false},
		{"no credentials directory", "credential: cf", "cloudflare[0].credential", "--credentials-dir", false},
		{"ca_root missing", "ca_root: DIR/nowhere", "acme.ca_root", "nowhere", false},
		{"ca_root without certificate", "ca_root: DIR/junk", "acme.ca_root", "holds no certificate", false},
		{"api_root without certificate", "api_root: DIR/empty", "cloudflare[0].api_root", "holds no certificate", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			token, acme, api, site := "token_file: DIR/token", "", "", "proxy: \"http://a:1\""
			kind, rest, _ := strings.Cut(test.source, ": ")
			switch kind {
			case "TLS":
				certificate, key, _ := strings.Cut(rest, " ")
				site += ", tls: {certificate: DIR/" + certificate + ", key: DIR/" + key + "}"
			case "ca_root":
				acme = ", " + test.source
			case "api_root":
				api = ", " + test.source
			default:
				token = test.source
			}
			source := fmt.Sprintf("acme: {email: ops@example.com%s}\ncloudflare:\n  - {zones: [example.com], %s%s}\nsites:\n  app.example.com: {%s}\n", acme, token, api, site)
			settings, problems := FromConfig(parse(t, strings.ReplaceAll(source, "DIR", dir)), FromOptions{})
			if len(problems) != 1 {
				t.Fatalf("%d problems, want 1:\n%v", len(problems), problems)
			}
			problem := problems[0]
			if problem.Path != test.path || !strings.Contains(problem.Message, test.message) || problem.Warning != test.warning {
				t.Errorf("path %q, message %q, warning %v", problem.Path, problem.Message, problem.Warning)
			}
			if problem.Hint == "" || problem.Line == 0 {
				t.Errorf("without a hint or a place: %+v", problem)
			}
			if strings.HasPrefix(test.path, "cloudflare[0].token") && !strings.Contains(problem.Message, "zone example.com") {
				t.Errorf("the zone is not named: %q", problem.Message)
			}
			if strings.Contains(fmt.Sprint(problems), tokenCom) {
				t.Error("a token is in the problem")
			}
			if len(settings.Plan) != 1 {
				t.Errorf("no plan in spite of the problem: %+v", settings.Plan)
			}
		})
	}
}

func TestSettingsThatDifferAreSeen(t *testing.T) {
	base := ACMESettings{Directory: "d", Email: "e", Resolvers: []string{"r"}}
	changes := map[string]func(*ACMESettings){
		"Directory":          func(s *ACMESettings) { s.Directory = "x" },
		"Email":              func(s *ACMESettings) { s.Email = "x" },
		"EABKeyID":           func(s *ACMESettings) { s.EABKeyID = "x" },
		"EABMACKey":          func(s *ACMESettings) { s.EABMACKey = secret.New("x") },
		"Profile":            func(s *ACMESettings) { s.Profile = "x" },
		"KeyType":            func(s *ACMESettings) { s.KeyType = "x" },
		"ARI":                func(s *ACMESettings) { s.ARI = true },
		"RenewalWindowRatio": func(s *ACMESettings) { s.RenewalWindowRatio = 0.5 },
		"Resolvers":          func(s *ACMESettings) { s.Resolvers = nil },
	}
	if !base.same(base) {
		t.Error("the same settings differ")
	}
	for name, change := range changes {
		changed := base
		change(&changed)
		if base.same(changed) {
			t.Errorf("a change of %s is not seen", name)
		}
	}
}

package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/config"
)

// parse parses a configuration that has no problem.
func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, problems := config.Parse("/etc/sallyport/sallyport.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatalf("problems:\n%v", problems)
	}
	return cfg
}

const shortForm = `
acme: {email: ops@sallyport.example}
cloudflare:
  - zones: [example.com]
    token_file: /run/secrets/cloudflare
sites:
  app.example.com: http://app:8080
`

func TestShortFormGetsEveryDefault(t *testing.T) {
	cfg := parse(t, shortForm)
	want := config.Config{
		Listen:  config.Listen{HTTP: config.Addresses{":80"}, HTTPS: config.Addresses{":443"}},
		Storage: "/var/lib/sallyport",
		ACME: config.ACME{
			Email: "ops@sallyport.example", CA: "letsencrypt", KeyType: "p256", ARI: true, RenewalWindowRatio: 0.33,
			Propagation: config.Propagation{Timeout: 2 * time.Minute, Interval: time.Second},
		},
		Cloudflare: []config.Credential{{
			Name: "example.com", Zones: []string{"example.com"}, TokenFile: "/run/secrets/cloudflare",
			APIURL: "https://api.cloudflare.com/client/v4",
		}},
		Sites: []config.Site{{Name: "app.example.com", Action: config.Action{Proxy: "http://app:8080"}}},
		Limits: config.Limits{
			RequestHeaderBytes: 64 << 10, RequestHeaderTimeout: 10 * time.Second, HandshakeTimeout: 10 * time.Second,
			IdleTimeout: 75 * time.Second, ConnectTimeout: 5 * time.Second, ResponseHeaderTimeout: time.Minute,
			ResponseHeaderBytes: 256 << 10, UpstreamIdleTimeout: time.Minute, UpstreamIdleConnections: 64,
			HTTP2Streams: 128, ShutdownTimeout: 30 * time.Second,
			Connections: 16384, ConnectionsPerAddress: 1024, RequestHeaderCount: 128, URILength: 16 << 10,
			MinRate: 512, MinRateGrace: 30 * time.Second, UpgradedIdleTimeout: time.Hour, UpstreamBodyTimeout: 5 * time.Minute,
		},
		Log:     config.Log{Level: "info", Format: "console", Output: "stderr", Rotate: config.Rotate{Size: 100 << 20, Keep: 5}},
		Runtime: config.Runtime{GCPercent: 800, Pressure: 85},
	}
	got, wanted := mustJSON(t, cfg), mustJSON(t, want)
	if got != wanted {
		t.Errorf("got\n%s\nwant\n%s", got, wanted)
	}
	if socket := cfg.SocketPath(); socket != "/var/lib/sallyport/sallyport.sock" {
		t.Errorf("socket %q", socket)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Whatever has a short form means the same as its long form.
func TestShortAndLongFormsMeanTheSame(t *testing.T) {
	for name, forms := range map[string][]string{
		"site": {
			`sites: {a.localhost: http://a:1}`,
			`sites: {a.localhost: {proxy: http://a:1}}`,
			"sites:\n  \"A.Localhost\":\n    proxy: 'http://a:1'\n",
			`{"sites": {"a.localhost": {"proxy": "http://a:1"}}}`,
			"\uFEFF# JSON and YAML\r\nsites:\r\n  a.localhost: http://a:1\r\n",
			"---\nsites: {a.localhost: http://a:1}\n...\n",
		},
		"issuer": {
			`sites: {a.b.internal: {tls: internal, proxy: http://a:1}}`,
			`sites: {a.b.internal: {tls: {issuer: internal}, proxy: http://a:1}}`,
		},
		"addresses": {
			`{listen: {https: ":8443"}, sites: {a.localhost: http://a:1}}`,
			`{listen: {https: [":8443"], http: ":80"}, sites: {a.localhost: http://a:1}}`,
			"listen:\n  https:\n    - \":8443\"\nsites: {a.localhost: http://a:1}",
		},
		"off": {
			`{listen: {http: off}, admin: {socket: off}, sites: {a.localhost: http://a:1}}`,
			`{listen: {http: false}, admin: {socket: false}, sites: {a.localhost: http://a:1}}`,
			`{listen: {http: []}, admin: {socket: "off"}, sites: {a.localhost: http://a:1}}`,
		},
		"sizes": {
			`{limits: {request_header_bytes: 65536}, sites: {a.localhost: http://a:1}}`,
			`{limits: {request_header_bytes: "65536"}, sites: {a.localhost: http://a:1}}`,
			`{limits: {request_header_bytes: 64KiB}, sites: {a.localhost: http://a:1}}`,
			`{limits: {request_header_bytes: 64k}, sites: {a.localhost: http://a:1}}`,
			`{sites: {a.localhost: http://a:1}}`,
		},
		"resolvers": {
			`{acme: {resolvers: [192.0.2.1, "2001:db8::1"], propagation: {servers: [ns1.example]}}, sites: {a.localhost: http://a:1}}`,
			`{acme: {resolvers: ["192.0.2.1:53", "[2001:db8::1]:53"], propagation: {servers: ["ns1.example:53"]}}, sites: {a.localhost: http://a:1}}`,
		},
		"names": {
			`sites: {bücher.localhost: {aliases: [ä.localhost, "*.ä.localhost"], proxy: http://a:1}}`,
			`sites: {xn--bcher-kva.localhost: {aliases: [XN--4CA.localhost, "*.xn--4ca.localhost"], proxy: http://a:1}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := mustJSON(t, parse(t, forms[0]))
			for _, form := range forms[1:] {
				if got := mustJSON(t, parse(t, form)); got != want {
					t.Errorf("%s\nmeans\n%s\nwant\n%s", form, got, want)
				}
			}
		})
	}
}

func TestExampleOfTheReferenceHasNoProblem(t *testing.T) {
	cfg, problems := config.Load("testdata/example.yaml")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, site := range cfg.Sites {
		if site.Name == "old.example.com" {
			if abs, _ := filepath.Abs(site.TLS.Certificate); abs != dir+"/old.pem" {
				t.Errorf("certificate %q is not relative to the file's directory", site.TLS.Certificate)
			}
		}
	}
	var order []string
	for _, site := range cfg.Sites {
		order = append(order, site.Name)
	}
	if got := strings.Join(order, " "); got != "app.example.com example.com *.apps.example.org old.example.com wiki.internal app.localhost api.example.com" {
		t.Errorf("sites are not in the order of the file: %s", got)
	}
	if cfg.SocketPath() != "" {
		t.Errorf("socket %q, want none", cfg.SocketPath())
	}
}

func TestRelativePathsAreJoinedToTheFilesDirectory(t *testing.T) {
	cfg := parse(t, `
storage: data
acme: {ca: "https://ca.sallyport.example/dir", ca_root: ./root.pem, eab: {key_id: a, mac_key_file: ../mac}}
cloudflare: [{zones: [example.com], token_file: cf.token, api_root: r.pem}]
admin: {socket: run/s.sock}
sites:
  a.localhost: {proxy: "http://a:1", tls: {certificate: a.pem, key: /abs/a.key}}
`)
	got := []string{cfg.Storage, cfg.ACME.CARoot, cfg.ACME.EAB.MACKeyFile, cfg.Cloudflare[0].TokenFile, cfg.Cloudflare[0].APIRoot,
		cfg.SocketPath(), cfg.Sites[0].TLS.Certificate, cfg.Sites[0].TLS.Key}
	want := []string{"/etc/sallyport/data", "/etc/sallyport/root.pem", "/etc/mac", "/etc/sallyport/cf.token", "/etc/sallyport/r.pem",
		"/etc/sallyport/run/s.sock", "/etc/sallyport/a.pem", "/abs/a.key"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestIssuerOfEachName(t *testing.T) {
	files := config.TLS{Certificate: "a.pem", Key: "a.key"}
	for _, c := range []struct {
		tls  config.TLS
		name string
		want config.Issuer
	}{
		{config.TLS{}, "example.com", config.IssuerACME},
		{config.TLS{}, "*.example.com", config.IssuerACME},
		{config.TLS{}, "localhost", config.IssuerInternal},
		{config.TLS{}, "app.localhost", config.IssuerInternal},
		{config.TLS{}, "*.localhost", config.IssuerInternal},
		{config.TLS{}, "*.app.localhost", config.IssuerInternal},
		{config.TLS{}, "notlocalhost", config.IssuerACME},
		{config.TLS{}, "localhost.example.com", config.IssuerACME},
		{config.TLS{Issuer: config.IssuerInternal}, "example.com", config.IssuerInternal},
		{config.TLS{Issuer: config.IssuerACME}, "app.localhost", config.IssuerACME},
		{files, "app.localhost", config.IssuerFile},
		{files, "example.com", config.IssuerFile},
	} {
		if got := (config.Site{TLS: c.tls}).IssuerOf(c.name); got != c.want {
			t.Errorf("%+v %s: got %s, want %s", c.tls, c.name, got, c.want)
		}
	}
}

func TestLaterProblemsPointIntoTheFile(t *testing.T) {
	cfg := parse(t, `acme: {email: ops@sallyport.example}
cloudflare:
  - zones: [example.com, example.net]
    token: cfut_canary
  - zones: [example.org]
    token_file: x
sites:
  app.example.com: http://app:8080
  Bücher.example.com:
    aliases: [a.example.com, b.example.com]
    proxy: http://b:1
    tls: {certificate: a.pem,
      key: a.key}
`)
	for path, want := range map[string]string{
		"cloudflare[0]":                                  "3:5",
		"cloudflare[0].zones":                            "3:5",
		"cloudflare[0].zones[1]":                         "3:26",
		"cloudflare[0].zones[7]":                         "3:5",
		"cloudflare[0].token":                            "4:5 hidden",
		"cloudflare[1].token_file":                       "6:17",
		"cloudflare[1].api_url":                          "5:5",
		"sites":                                          "7:1",
		"sites[app.example.com]":                         "8:3",
		"sites[app.example.com].proxy":                   "8:20",
		"sites[app.example.com].tls.issuer":              "8:3",
		"sites[xn--bcher-kva.example.com]":               "9:3",
		"sites[bücher.example.com].aliases[1]":           "10:30",
		"sites[xn--bcher-kva.example.com].aliases[1]":    "10:30",
		"sites[bücher.example.com].tls":                  "12:5",
		"sites[xn--bcher-kva.example.com].tls.key":       "13:12",
		"sites[xn--bcher-kva.example.com].tls.issuer.no": "12:5",
		"sites[unknown.example.com].proxy":               "7:1",
		"storage":                                        "",
		"admin.socket":                                   "",
		"nonsense[":                                      "",
		"":                                               "",
	} {
		p := cfg.Problem(path, "message", "hint")
		got := strings.TrimPrefix(p.Position.String(), "/etc/sallyport/sallyport.yaml")
		got = strings.TrimPrefix(got, ":")
		if p.Line > 0 && p.Excerpt == "" {
			got += " hidden"
		}
		if got != want {
			t.Errorf("%q: at %q, want %q", path, got, want)
		}
		if strings.Contains(p.String(), "canary") {
			t.Errorf("a secret is printed: %s", p)
		}
	}
	// A configuration made by code has no file to point into.
	p := new(config.Config).Problem("storage", "message", "hint")
	if got := p.String(); got != "message\n  hint: hint" {
		t.Errorf("got %q", got)
	}
}

func TestProblemsAsAnError(t *testing.T) {
	at := func(line, column int) config.Position {
		return config.Position{File: "f.yaml", Line: line, Column: column}
	}
	problems := config.Problems{
		{Position: at(3, 1), Message: "third"},
		{Position: at(1, 5), Message: "second", Warning: true, Hint: "one\ntwo"},
		{Position: at(1, 2), Message: "first", Excerpt: "    1 | x\n      | ^"},
		{Position: config.Position{File: "f.yaml"}, Message: "whole file"},
		{Message: "nowhere"},
		{Position: at(3, 0), Message: "whole line"},
	}
	want := `nowhere

f.yaml: whole file

f.yaml:1:2: first
    1 | x
      | ^

f.yaml:1:5: warning: second
  hint: one
        two

f.yaml:3: whole line

f.yaml:3:1: third`
	if got := problems.Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, ok := errors.AsType[config.Problems](problems.Err()); !ok || len(got) != len(problems) {
		t.Errorf("Err() = %v", problems.Err())
	}
	if err := problems[1:2].Err(); err != nil {
		t.Errorf("warnings alone: %v", err)
	}
	if err := config.Problems(nil).Err(); err != nil {
		t.Errorf("no problems: %v", err)
	}
}

func TestLoadSaysWhyItCannotRead(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, []byte(strings.Repeat("# comment\n", 120_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "the configuration file does not exist",
		dir:                             "this is a directory",
		large:                           "the file is larger than 1 MiB",
	} {
		cfg, problems := config.Load(path)
		if err := problems.Err(); cfg != nil || err == nil || !strings.HasPrefix(err.Error(), path+": "+want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Without bounds some of these overflow the parser's stack, which no recover
// catches, or take minutes.
func TestHostileFilesAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"keys":     strings.Repeat("a:\n", 60_000),
		"brackets": strings.Repeat("[", 1<<18),
		"braces":   strings.Repeat("{a: ", 1<<17),
		"dashes":   strings.Repeat("- ", 1<<18),
		"marks":    strings.Repeat("? ", 1<<18),
		"anchors":  "a: &a [x]\n" + strings.Repeat("b: &b [*a,*a,*a]\n", 10_000),
		"quotes":   strings.Repeat("token: \"\n", 50_000),
		"colons":   strings.Repeat(": ", 1<<18),
		"stars":    strings.Repeat("*.a", 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := config.Parse("hostile.yaml", []byte(text))
			if problems.Err() == nil {
				t.Error("no problem")
			}
		})
	}
}

func TestManySitesAreFine(t *testing.T) {
	var b strings.Builder
	b.WriteString("sites:\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "  app%d.localhost: {aliases: [www%d.localhost], proxy: \"http://app:8080\"}\n", i, i)
	}
	if cfg := parse(t, b.String()); len(cfg.Sites) != 2000 {
		t.Errorf("%d sites", len(cfg.Sites))
	}
}

// A printed configuration shows neither the token nor the text of its line.
func TestAConfigCannotPrintItsSecrets(t *testing.T) {
	cfg, problems := config.Parse("f.yaml", []byte(`acme: {ca: "https://ca.example/dir", eab: {key_id: a, mac_key: CANARYCANARY}}
cloudflare:
  - zones: [example.com]
    token: CANARY
sites: {a.localhost: "http://a:1"}
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if cfg.Cloudflare[0].Token.Reveal() != "CANARY" || cfg.ACME.EAB.MACKey.Reveal() != "CANARYCANARY" {
		t.Fatal("the secrets were not read")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if out := fmt.Sprintf(verb, cfg) + fmt.Sprintf(verb, *cfg); strings.Contains(out, "CANARY") || strings.Contains(out, fmt.Sprintf("%x", "CANARY")) {
			t.Errorf("%s prints %s", verb, out)
		}
	}
	if found := findText(reflect.ValueOf(cfg), "CANARY", map[uintptr]bool{}); found != 2 {
		t.Errorf("the secrets stand in memory %d times, want only in their two secret.Text", found)
	}
}

// findText counts the strings below v, unexported ones included, that hold a
// text.
func findText(v reflect.Value, text string, seen map[uintptr]bool) int {
	found := 0
	switch v.Kind() {
	case reflect.String:
		if strings.Contains(v.String(), text) {
			found++
		}
	case reflect.Pointer:
		if !v.IsNil() && !seen[v.Pointer()] {
			seen[v.Pointer()] = true
			found += findText(v.Elem(), text, seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			found += findText(v.Field(i), text, seen)
		}
	case reflect.Slice:
		for i := range v.Len() {
			found += findText(v.Index(i), text, seen)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			found += findText(it.Key(), text, seen) + findText(it.Value(), text, seen)
		}
	}
	return found
}

func TestSchemaIsJSONAndKnowsTheExample(t *testing.T) {
	var schema struct {
		Properties map[string]any
		Defs       map[string]struct {
			Properties           map[string]any
			AdditionalProperties *bool
		} `json:"$defs"`
	}
	if err := json.Unmarshal(config.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	for i, top := 0, reflect.TypeFor[config.Config](); i < top.NumField(); i++ {
		if key := top.Field(i).Tag.Get("yaml"); key != "" && schema.Properties[key] == nil {
			t.Errorf("the schema has no %s", key)
		}
	}
	for name, def := range schema.Defs {
		if def.AdditionalProperties == nil || *def.AdditionalProperties {
			t.Errorf("%s lets unknown keys through", name)
		}
	}
	one := config.Schema()
	one[0] = '!'
	if config.Schema()[0] != '{' {
		t.Error("a caller can change the schema")
	}
}

func TestProblemsComeInTheOrderOfTheFileWithTheirPaths(t *testing.T) {
	_, problems := config.Parse("f.yaml", []byte(`limits: {idle_timeout: 1}
acme: {key_type: x, nonsense: 1}
cloudflare:
  - zones: [example.com, com]
    token_file: x
sites:
  a.localhost: app
  B.Localhost: {aliases: [a.localhost], proxy: http://b:1}
listen: {http: 80}
`))
	var got []string
	for _, p := range problems {
		got = append(got, p.Path)
	}
	want := []string{"limits.idle_timeout", "acme.key_type", "acme.nonsense", "cloudflare[0].zones[1]",
		"sites[a.localhost].proxy", "sites[b.localhost].aliases[0]", "listen.http"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestAddressOfTheAPIHasNoSlashAtItsEnd(t *testing.T) {
	cfg := parse(t, `
cloudflare: [{zones: [example.com], token_file: x, api_url: "https://api.sallyport.test:8443/client/v4/"}]
sites: {a.localhost: http://a:1}
`)
	if got := cfg.Cloudflare[0].APIURL; got != "https://api.sallyport.test:8443/client/v4" {
		t.Errorf("got %s", got)
	}
}

func TestNumbersAtTheEdges(t *testing.T) {
	cfg := parse(t, `
limits: {response_header_timeout: 0, shutdown_timeout: 0s, response_header_bytes: 9GB}
sites: {a.localhost: http://a:1}
`)
	if l := cfg.Limits; l.ResponseHeaderTimeout != 0 || l.ShutdownTimeout != 0 || l.ResponseHeaderBytes != 9e9 {
		t.Errorf("%+v", l)
	}
	for size, want := range map[string]config.Size{"8388607TiB": 0, "8589934591GiB": 8589934591 << 30, "8589934592GiB": 0, "9223372036854775807": math.MaxInt64, "0x400": 0, "1e6": 0, "+2048": 2048} {
		cfg, problems := config.Parse("f", fmt.Appendf(nil, "{limits: {request_header_bytes: %s}, sites: {a.localhost: 'http://a:1'}}", size))
		if want == 0 {
			if problems.Err() == nil {
				t.Errorf("%s: no problem", size)
			}
		} else if len(problems) > 0 || cfg.Limits.RequestHeaderBytes != want {
			t.Errorf("%s: %d %v", size, cfg.Limits.RequestHeaderBytes, problems)
		}
	}
}

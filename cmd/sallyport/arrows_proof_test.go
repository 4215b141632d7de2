package main_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestArrowsCanFail shows each rule a small house that breaks it, and that the
// rule names the place and finds nothing else.
func TestArrowsCanFail(t *testing.T) {
	proven := make(map[string]bool)
	for i, proof := range proofs {
		proven[proof.rule] = true
		t.Run(fmt.Sprintf("%s/%d", proof.rule, i), func(t *testing.T) {
			h := build(t, proof.files)
			h.top, h.closure = proof.top, proof.closure
			var got []string
			for _, breach := range slices.Sorted(slices.Values(ruleNamed(t, proof.rule).breaches(h))) {
				at, _, _ := strings.Cut(breach, ": ")
				got = append(got, at)
			}
			if want := strings.Fields(proof.want); !slices.Equal(got, want) {
				t.Errorf("breaches at %q, want %q", got, want)
			}
		})
	}
	for _, rule := range houseRules {
		if !proven[rule.name] {
			t.Errorf("nothing proves that the rule %q can fail", rule.name)
		}
	}
}

// TestArrowsAllowWhatIsMeant keeps the rules from growing past their purpose:
// everything in this house is as it should be.
func TestArrowsAllowWhatIsMeant(t *testing.T) {
	h := build(t, goodHouse)
	h.top = strings.Fields(".ci .dockerignore .gitattributes .gitignore CHANGELOG.md Dockerfile LICENSE README.md cmd config deploy go.mod go.sum proxy tlsmgr")
	h.closure = []string{"os", "testingpages", houseModule + "/tlsmgr"}
	for _, rule := range houseRules {
		t.Run(rule.name, func(t *testing.T) {
			for _, breach := range rule.breaches(h) {
				t.Error(breach)
			}
		})
	}
}

func ruleNamed(t *testing.T, name string) houseRule {
	t.Helper()
	for _, rule := range houseRules {
		if rule.name == name {
			return rule
		}
	}
	t.Fatalf("there is no rule %q", name)
	return houseRule{}
}

// build makes a house of files given by path. "$M" stands for the module path.
// Files that are not Go stand for fuzz seeds.
func build(t *testing.T, files map[string]string) *house {
	t.Helper()
	h := &house{files: make(map[string]bool)}
	sources := make(map[string][]byte)
	for name, text := range maps.All(files) {
		if strings.HasSuffix(name, ".go") {
			sources[name] = []byte(strings.ReplaceAll(text, "$M", houseModule))
		} else {
			h.files[name] = true
		}
	}
	var err error
	if h.units, err = readUnits(sources); err != nil {
		t.Fatal(err)
	}
	return h
}

// proofs are houses with something wrong in them, and where it is.
var proofs = []struct {
	rule         string
	files        map[string]string
	top, closure []string
	want         string
}{
	{rule: "top level", top: []string{".ci", "internal", "util.go"}, want: "internal:1 util.go:1"},
	{rule: "proxy and tlsmgr are strangers", want: "proxy/static/a.go:3 tlsmgr/b_test.go:2", files: map[string]string{
		"proxy/static/a.go": "package static\n\nimport \"$M/tlsmgr\"\n",
		"tlsmgr/b_test.go":  "package tlsmgr_test\nimport _ \"$M/proxy/upstream\"\n",
	}},
	{rule: "config stops at build.go", want: "proxy/plan.go:2 proxy/upstream/a.go:2 proxy/upstream/a_test.go:2 tlsmgr/build.go:2", files: map[string]string{
		"proxy/plan.go":            "package proxy\nimport \"$M/config\"\n",
		"proxy/upstream/a.go":      "package upstream\nimport \"$M/config\"\n",
		"proxy/upstream/a_test.go": "package upstream\nimport \"$M/config\"\n",
		"tlsmgr/build.go":          "package tlsmgr\nimport \"$M/config/nginx\"\n",
	}},
	{rule: "config stops at build.go", want: "config/load.go:2 config/nginx/a.go:2 config/secret/a.go:2", files: map[string]string{
		"config/load.go":     "package config\nimport \"$M/proxy\"\n",
		"config/nginx/a.go":  "package nginx\nimport \"$M/tlsmgr\"\n",
		"config/secret/a.go": "package secret\nimport \"$M/config\"\n",
	}},
	{rule: "nothing imports cmd", want: "cmd/sandbox/a.go:2 cmd/sandbox/b.go:2 proxy/a_test.go:2", files: map[string]string{
		"cmd/sandbox/a.go": "package main\nimport \"$M/cmd/sallyport\"\n",
		"cmd/sandbox/b.go": "package main\nimport \"$M/cmd/sallyport/room\"\nimport \"$M/cmd/sandbox/room\"\n",
		"proxy/a_test.go":  "package proxy\nimport \"$M/cmd/sandbox/stage\"\n",
	}},
	{rule: "certificate libraries stay in tlsmgr", want: "cmd/sallyport/a.go:2 config/a.go:2 config/a.go:3", files: map[string]string{
		"cmd/sallyport/a.go": "package main\nimport \"github.com/caddyserver/certmagic\"\n",
		"config/a.go":        "package config\nimport \"github.com/mholt/acmez/v3/acme\"\nimport \"github.com/libdns/cloudflare\"\n",
	}},
	{rule: "engines stay behind the seams", want: "cmd/sallyport/a.go:3 proxy/a.go:3 proxy/a.go:4 proxy/b.go:2 tlsmgr/a.go:2", files: map[string]string{
		"cmd/sallyport/a.go": "package main\nimport \"net/http\"\nvar client = http.Client{Transport: &http.Transport{}}\n",
		"proxy/a.go":         "package proxy\nimport web \"net/http\"\nfunc f() any { return new(web.Transport) }\nfunc g(s *web.Server) {}\n",
		"proxy/b.go":         "package proxy\nimport \"golang.org/x/net/http2/h2c\"\n",
		"tlsmgr/a.go":        "package tlsmgr\nimport \"github.com/quic-go/quic-go/http3\"\n",
	}},
	{rule: "test support is not shipped", want: "cmd/sallyport/main.go:1 cmd/sallyport/main.go:1 cmd/sallyport/main.go:1 tlsmgr/a.go:2",
		closure: []string{"os", "testing", "github.com/letsencrypt/pebble/v2/ca", houseModule + "/tlsmgr/acmetest"},
		files:   map[string]string{"tlsmgr/a.go": "package tlsmgr\nimport \"$M/tlsmgr/acmetest\"\n"}},
	{rule: "the environment is read in seal.go", want: "cmd/sallyport/run.go:3 config/a.go:3 config/a.go:4 tlsmgr/a.go:3 tlsmgr/acmetest/pebble.go:3 tlsmgr/b.go:3 tlsmgr/c.go:3", files: map[string]string{
		"cmd/sallyport/run.go":      "package main\nimport \"os\"\nfunc f() { os.Clearenv() }\n",
		"config/a.go":               "package config\nimport system \"os\"\nfunc f(s string) string { return system.Expand(s, system.Getenv) }\nfunc g(s string) string { return system.ExpandEnv(s) }\n",
		"tlsmgr/a.go":               "package tlsmgr\nimport \"syscall\"\nfunc f() (string, bool) { return syscall.Getenv(\"CF_API_KEY\") }\n",
		"tlsmgr/acmetest/pebble.go": "package acmetest\nimport \"os\"\nfunc f() string { return os.Getenv(\"PEBBLE\") }\n",
		"tlsmgr/b.go":               "package tlsmgr\nimport \"os\"\nfunc g() (string, error) { return os.UserHomeDir() }\n",
		"tlsmgr/c.go":               "package tlsmgr\nimport \"net/http\"\nvar proxy = struct{ f any }{http.ProxyFromEnvironment}\n",
	}},
	{rule: "no globals of libraries", want: "proxy/a.go:4 proxy/a.go:5 proxy/b.go:2 tlsmgr/a.go:3", files: map[string]string{
		"proxy/a.go":  "package proxy\nimport \"log\"\nimport \"net/http\"\nfunc f() { log.Printf(\"x\") }\nfunc g() any { return http.DefaultClient }\n",
		"proxy/b.go":  "package proxy\nimport . \"net/http\"\n",
		"tlsmgr/a.go": "package tlsmgr\nimport \"github.com/caddyserver/certmagic\"\nfunc f() any { return &certmagic.DefaultACME }\n",
	}},
	{rule: "no init", want: "proxy/a.go:2 proxy/a_test.go:2", files: map[string]string{
		"proxy/a.go":      "package proxy\nfunc init() {}\n",
		"proxy/a_test.go": "package proxy\nfunc init() {}\n",
	}},
	{rule: "no mutable package state", files: map[string]string{"proxy/a.go": `package proxy
import "sync"
import "time"
import "sync/atomic"
var mu sync.Mutex
var count = atomic.Int64{}
var seen = make(map[string]bool)
var now = time.Now
var hook = func() {}
var pool = &struct{ n int }{}
var current = new(int)
var table = map[string]int{}
var list = [2]int{}
func f() { table["a"] = 1 }
func g() { list[0]++ }
func h() *[2]int { return &list }
func i() { delete(table, "a") }
var lines, cache = 1, open()
func open() *int { return nil }
`,
		"proxy/a_test.go":     "package proxy\nfunc swap() { table = nil }\n",
		"proxy/cross_test.go": "package proxy_test\nimport \"$M/proxy\"\nfunc swap() { proxy.Table = nil }\n",
	}, want: "proxy/a.go:10 proxy/a.go:11 proxy/a.go:14 proxy/a.go:15 proxy/a.go:16 proxy/a.go:17 proxy/a.go:18 " +
		"proxy/a.go:5 proxy/a.go:6 proxy/a.go:7 proxy/a.go:8 proxy/a.go:9 proxy/a_test.go:2 proxy/cross_test.go:3"},
	{rule: "no cgo", want: "proxy/a.go:2", files: map[string]string{"proxy/a.go": "package proxy\nimport \"C\"\n"}},
	{rule: "every package has a doc.go", want: "proxy/doc.go:1 tlsmgr/doc.go:1", files: map[string]string{
		"proxy/a.go":         "// Package proxy says it in the wrong file.\npackage proxy\n",
		"tlsmgr/doc.go":      "// Not a package comment.\n\npackage tlsmgr\n",
		"tlsmgr/doc_test.go": "package tlsmgr_test\n",
	}},
	{rule: "fuzz targets have seeds", want: "config/a_test.go:3", files: map[string]string{
		"config/a_test.go":                  "package config\nimport \"testing\"\nfunc FuzzParse(f *testing.F) { f.Fuzz(func(*testing.T, string) {}) }\n",
		"config/testdata/fuzz/FuzzOther/01": "",
	}},
	{rule: "tests do not sleep", want: "proxy/a_test.go:3 proxy/a_test.go:4 proxy/b_test.go:4 proxy/c_test.go:4", files: map[string]string{
		"proxy/a_test.go": "package proxy\nimport \"time\"\nfunc wait() { time.Sleep(1) }\nvar pause = time.Sleep\n",
		"proxy/b_test.go": "package proxy\nimport \"time\"\nimport \"testing/synctest\"\nfunc wait() { time.Sleep(1); synctest.Test(nil, func() { synctest.Wait() }) }\n",
		// One test opens a bubble, the other does not.
		"proxy/c_test.go": "package proxy\nimport \"time\"\nimport \"testing/synctest\"\nfunc wait() { time.Sleep(1) }\n" +
			"func bubble() { synctest.Test(nil, nil) }\nfunc TestA() { bubble() }\nfunc TestB() { wait() }\n",
	}},
}

// goodHouse holds what looks like the breaches above and is none.
var goodHouse = map[string]string{
	"cmd/sallyport/doc.go":  "// Command sallyport.\npackage main\nimport _ \"$M/config\"\nimport _ \"$M/proxy\"\nimport _ \"$M/tlsmgr\"\n",
	"cmd/sallyport/seal.go": "package main\nimport \"os\"\nfunc seal() { os.Clearenv() }\n",
	"cmd/sandbox/doc.go":    "// Command sandbox.\npackage main\nimport _ \"$M/tlsmgr/acmetest\"\n",
	"config/doc.go":         "// Package config.\npackage config\nimport _ \"$M/config/secret\"\n",
	"config/doc_test.go":    "package config_test\nimport _ \"$M/config\"\n",
	"config/nginx/doc.go":   "// Package nginx.\npackage nginx\nimport _ \"$M/config\"\n",
	"config/secret/doc.go":  "// Package secret.\npackage secret\n",
	"config/fuzz_test.go": `package config
import "testing"
func FuzzAdded(f *testing.F) { for range 3 { f.Add("x") }; f.Fuzz(func(*testing.T, string) {}) }
func FuzzStored(f *testing.F) { f.Fuzz(func(*testing.T, string) {}) }
func FuzzyHelper() {}
`,
	"config/testdata/fuzz/FuzzStored/01": "",
	"proxy/doc.go":                       "// Package proxy.\npackage proxy\n",
	"proxy/time_test.go": "package proxy\nimport \"time\"\nimport \"testing/synctest\"\nfunc wait() { time.Sleep(1) }\n" +
		"func bubble() { synctest.Test(nil, nil) }\nfunc TestA() { bubble() }\nfunc TestB() { synctest.Test(nil, nil) }\n",
	"proxy/build.go":        "package proxy\nimport _ \"$M/config\"\nimport _ \"$M/proxy/upstream\"\n",
	"proxy/build_test.go":   "package proxy\nimport _ \"$M/config\"\n",
	"proxy/upstream/doc.go": "// Package upstream.\npackage upstream\nimport \"net/http\"\nimport _ \"$M/config/secret\"\nfunc f() any { return &http.Transport{} }\n",
	"proxy/values.go": `package proxy
import "errors"
import "io"
import "log"
import "net/http"
import "net/netip"
import "regexp"
var _ io.Writer = (*values)(nil)
var errStale = errors.New("stale")
var errOwn = &values{errStale: nil}
var host = regexp.MustCompile("^[a-z]+$")
var private = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
var names = map[string]func(){"a": func() {}, "b": other}
var version string
var page = []byte("<html>")
var hops = map[string]bool{http.CanonicalHeaderKey: true}
//go:embed page.html
var embedded []byte
type values struct{ errStale error; os any }
func (v *values) Write(p []byte) (int, error) { v.errStale = nil; return 0, nil }
func other() { errStale := error(nil); errStale = nil; _ = errStale; _ = log.New }
func shadow(os interface{ Getenv(string) string }) string { return os.Getenv("x") }
func local() { table := map[string]int{}; table["a"] = 1; clear(table); _ = &table }
`,
	"proxy/values_test.go": `package proxy
import "os"
import "testing/synctest"
import "time"
var update = os.Getenv("UPDATE")
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }
func bubble() { synctest.Test(nil, func() { time.Sleep(time.Hour) }); update = "" }
`,
	"tlsmgr/doc.go":             "// Package tlsmgr.\npackage tlsmgr\nimport _ \"github.com/caddyserver/certmagic\"\n",
	"tlsmgr/doc_test.go":        "package tlsmgr\nimport _ \"$M/tlsmgr/acmetest\"\n",
	"tlsmgr/acmetest/pebble.go": "package acmetest\nimport \"os\"\nimport \"sync\"\nvar environment sync.Mutex\nfunc f() { os.Setenv(\"PEBBLE\", \"\") }\n",
	"tlsmgr/acmetest/doc.go":    "// Package acmetest.\npackage acmetest\nimport _ \"github.com/letsencrypt/pebble/v2/ca\"\n",
}

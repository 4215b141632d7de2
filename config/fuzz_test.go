package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/config"
)

// canary is a secret that nothing but its key betrays.
const canary = "Zanzibar7Canary"

// FuzzParse puts a token between two pieces of a file. Whatever the pieces make
// of the file, Parse returns, and nothing it says holds the token.
func FuzzParse(f *testing.F) {
	f.Add("cloudflare:\n  - zones: [example.com]\n    token: ", "\nsites: {a.localhost: \"http://a:1\"}\n")
	f.Add("cloudflare: [{zones: [a.example], token: ", ", zone: x}]\n")
	f.Add("acme:\n  eab:\n    mac_key: |\n      ", "\n  ca: x\n")
	f.Add("{token: \"", "\", *.a.b: c: d}")
	f.Add("- token: ", ": b\n")
	f.Add("? token\n: ", "")
	f.Add("sites: {x.localhost: {secret: ", "}}")
	f.Add("\"tok\\u0065n\": ", "\n\tx: y")
	f.Add("[token: ", ": b]")
	f.Add("a: &x {password: ", "}\nb: *x")
	f.Add("token: !!str ", " \n---\nx: y")
	f.Add("api_key: '", "\n'")
	f.Add("token:\n  ", "\n  listen: {")
	files, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds")
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		before, after, _ := strings.Cut(string(content), "canary")
		if before != string(content) {
			f.Add(before, after)
		} else {
			f.Add(before+"\ntoken: ", "")
		}
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		config.Parse("f.yaml", []byte(before+after)) // must return

		// The promise holds for what stands right after a key that sounds
		// secret, so the key is added where the fuzzer lost it.
		secret := "\ntoken: " + canary
		if strings.HasSuffix(before, "token: ") || strings.HasSuffix(before, "token: \"") || strings.HasSuffix(before, "mac_key: ") {
			secret = canary
		}
		cfg, problems := config.Parse("f.yaml", []byte(before+secret+after))
		if text := problems.Error(); strings.Contains(text, canary) {
			t.Errorf("the secret is printed:\n%s", text)
		}
		for _, p := range problems {
			if p.Message == "" || p.File != "f.yaml" || strings.Contains(p.Path, canary) {
				t.Errorf("problem %+v", p)
			}
		}
		if cfg == nil && problems.Err() == nil {
			t.Error("neither a configuration nor a problem")
		}
	})
}

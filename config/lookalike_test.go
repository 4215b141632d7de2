package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The expressions that the scans of lookalike.go stand for.
var (
	wordBeforeColon = regexp.MustCompile(`([\pL\pN_.\-]+)["']?\s*[:=]`)
	escapes         = regexp.MustCompile(`\\[xuU]`)
	tokenRun        = regexp.MustCompile(`[A-Za-z0-9_+=\-]{30,}`)
)

// FuzzLooksAreThoseOfTheExpressions holds each scan against the expression that
// it stands for.
func FuzzLooksAreThoseOfTheExpressions(f *testing.F) {
	for _, text := range []string{
		"token: x", `"token" : x`, `'a.b-c_d'=`, `a" ":`, `a"":`, "a \t\f\r\n:", "a\v:", "a\u00a0:", "a::b=:c", "größe: 1", "ключ²: x", "a\xffb:", "\xff:", "é\xc3:",
		`\x`, `\\u`, `\\\`, `\`, `a\Ub`, `\n\X`,
		"cfut_x", "CFAT_", "cf\u212a_x", "cfk_", "xcfk_", "cft_", "bearer x", "BEARER\tx", "bearer", "Bearer\vx", "private key", "PRIVATE \u212aEY", "http://u:p@h", "http://h/@x", "://@", "//@",
		strings.Repeat("a", 30), strings.Repeat("a", 29) + "1", strings.Repeat("a", 29) + ".1", "A" + strings.Repeat("-", 29), strings.Repeat("a", 40) + "B", strings.Repeat("+", 28) + "1", "ä" + strings.Repeat("=", 29) + "Z",
	} {
		f.Add(text)
	}
	files, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds")
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			f.Add(line)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		type key struct {
			word string
			end  int
		}
		var got, want []key
		for word, end := range wordsBeforeColon(text) {
			got = append(got, key{word, end})
		}
		for _, m := range wordBeforeColon.FindAllStringSubmatchIndex(text, -1) {
			want = append(want, key{text[m[2]:m[3]], m[1]})
		}
		if !slices.Equal(got, want) {
			t.Errorf("keys of %q: %v, want %v", text, got, want)
		}
		if got, want := hasEscape(text), escapes.MatchString(text); got != want {
			t.Errorf("escape in %q: %v, want %v", text, got, want)
		}
		if !mayHaveTokenPrefix(text) && tokenPrefix.MatchString(text) {
			t.Errorf("%q has the prefix of a token", text)
		}
		run := slices.ContainsFunc(tokenRun.FindAllString(text, -1), func(run string) bool {
			return strings.ContainsAny(run, "0123456789") || strings.ToLower(run) != run
		})
		if got := hasTokenRun(text); got != run {
			t.Errorf("run in %q: %v, want %v", text, got, run)
		}
	})
}

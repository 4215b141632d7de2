package config

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkParseAThousandSites is what most of a reload is.
func BenchmarkParseAThousandSites(b *testing.B) {
	var text strings.Builder
	text.WriteString("sites:\n")
	for n := range 1000 {
		fmt.Fprintf(&text, "  s%d.localhost:\n    routes:\n      - {path: /api/, proxy: 'http://127.0.0.1:9'}\n      - {path: /, proxy: 'http://127.0.0.1:%d'}\n", n, 1000+n%50)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, problems := Parse("a.yaml", []byte(text.String())); problems.Err() != nil {
			b.Fatal(problems)
		}
	}
}

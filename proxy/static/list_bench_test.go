package static_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sallyport/sallyport/proxy/static"
)

// BenchmarkListing is a listing of 1,000 files, three folders deep.
func BenchmarkListing(b *testing.B) {
	names := map[string]string{}
	for i := range 1000 {
		names[fmt.Sprintf("a/b/file-%04d.txt", i)] = "x"
	}
	files, err := static.New(static.Options{Root: site(b, names), Browse: true, Hidden: []string{".*"}})
	if err != nil {
		b.Fatal(err)
	}
	defer files.Close()
	r := httptest.NewRequest("GET", "/a/b/", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := discard{h: make(http.Header, 8)}
		files.ServeHTTP(&w, r)
		if w.n < 100_000 {
			b.Fatal(w.n)
		}
	}
}

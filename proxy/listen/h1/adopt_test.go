package h1

import (
	"fmt"
	"io"
	"net/http"
	"testing"
)

// TestAdoptedHeaderIsTheAnswers: and none is adopted once somebody has the
// response's own, which may have something in it.
func TestAdoptedHeaderIsTheAnswers(t *testing.T) {
	w := serve(t, false, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			w.Header().Set("X-Before", "1")
		}
		h := http.Header{"X-Adopted": {"2"}}
		adopted := w.(interface{ Adopt(http.Header) bool }).Adopt(h)
		h.Set("X-After", "3")
		w.Header().Set("X-Then", "4")
		fmt.Fprint(w, adopted)
	})
	for path, want := range map[string][]string{"/": {"true", "", "2", "3", "4"}, "/late": {"false", "1", "", "", "4"}} {
		res, err := http.Get("http://" + w.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		got := []string{string(body), res.Header.Get("X-Before"), res.Header.Get("X-Adopted"), res.Header.Get("X-After"), res.Header.Get("X-Then")}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

package admin

import (
	"crypto/rand"
	_ "embed" // for the page
	"net/http"
	"strings"
)

//go:embed page.html
var pageHTML string

// page serves the status page. It is one document without anything from
// elsewhere, and its policy lets it load nothing but our own API: even a text
// of an attacker's that found its way into it could not act or leave.
func page() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		nonce := rand.Text()
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+nonce+"'; script-src 'nonce-"+nonce+"'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write([]byte(strings.ReplaceAll(pageHTML, "{{nonce}}", nonce))) // the client may be gone
	})
}

package config

import (
	"slices"
	"testing"
)

func TestFilesAreThoseThatOthersWrite(t *testing.T) {
	cfg, problems := Parse("/etc/s/sallyport.yaml", []byte(`acme: {email: a@example.com, ca_root: root.pem}
cloudflare: [{zones: [example.com], token_file: /run/token}]
storage: /var/lib/s
admin: {socket: /run/s.sock}
upstreams: {api: {servers: [https://a:1], tls: {ca: ca.pem}}}
sites:
  app.example.com: {proxy: api, basic_auth: {users_file: users}}
  old.example.com: {tls: {certificate: c.pem, key: k.pem}, proxy: api}
`))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	want := []string{"/etc/s/c.pem", "/etc/s/ca.pem", "/etc/s/k.pem", "/etc/s/root.pem", "/etc/s/users", "/run/token"}
	if got := cfg.Files(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

package config

import (
	"fmt"
	"testing"
)

// What a site or a route says about its log replaces that, and nothing else.
func TestAccessLogsInheritKeyByKey(t *testing.T) {
	cfg, problems := Parse("s.yaml", []byte(`storage: /tmp
log: {access: {output: /tmp/all.log, format: json, sample: 0.5, exclude: [/healthz], headers: [X-A], redact_query: [secret], rotate: {size: 7MiB}}}
sites:
  plain.localhost: {respond: ok}
  own.localhost:
    access_log: {sample: 1}
    routes:
      - {path: /a, access_log: {format: combined, exclude: []}, respond: a}
      - {path: /b, access_log: {output: stdout}, respond: b}
      - {path: /c, access_log: off, respond: c}
      - {path: /, respond: ok}
`))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	show := func(a *AccessLog) string {
		if a == nil || a.Off {
			return fmt.Sprint(a != nil)
		}
		return fmt.Sprint(a.Output, a.Format, a.Sample, a.Exclude, a.Headers, a.RedactQuery, a.Rotate.Size)
	}
	site := func(name string) *Site {
		for i := range cfg.Sites {
			if cfg.Sites[i].Name == name {
				return &cfg.Sites[i]
			}
		}
		t.Fatal("no site ", name)
		return nil
	}
	own := site("own.localhost")
	all := cfg.Log.Access
	want := *all
	want.Sample = 1
	if got := show(own.AccessLog); got != show(&want) {
		t.Errorf("site: %s, want %s", got, show(&want))
	}
	want.Format, want.Exclude = "combined", nil
	if got := show(own.Routes[0].AccessLog); got != show(&want) {
		t.Errorf("route /a: %s, want %s", got, show(&want))
	}
	want = *all
	want.Sample, want.Output, want.Rotate.Size = 1, "stdout", 100<<20 // another place is put aside in its own way
	if got := show(own.Routes[1].AccessLog); got != show(&want) {
		t.Errorf("route /b: %s, want %s", got, show(&want))
	}
	if got := own.Routes[2].AccessLog; got == nil || !got.Off {
		t.Errorf("route /c: %s", show(got))
	}
	if got := site("plain.localhost").AccessLog; got != nil {
		t.Errorf("a site that says nothing has its own: %s", show(got))
	}
}

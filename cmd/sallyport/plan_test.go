package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/admin"
)

func TestPlanTellsWhatAReloadWouldChange(t *testing.T) {
	dir := shortDir(t)
	server := echo(t)
	path := writeConfig(t, dir, internalSite(server.URL)+"  gone.localhost: http://127.0.0.1:9\n")
	var p admin.Plan
	if code := asked(t, path, &p, "plan"); code != exitOK || p.Against != "" || !p.OK || len(p.Changes) == 0 {
		t.Errorf("offline: %d %+v", code, p)
	}
	i := start(t, nil, "run", "--config", path)
	address := i.https()
	load := begin(t, address, filepath.Join(dir, "storage", "localca", "root.pem"), 10, 2)
	p = admin.Plan{}
	if code := asked(t, path, &p, "plan"); code != exitOK || len(p.Changes) != 0 || p.Against == "" {
		t.Errorf("the same: %d %+v", code, p)
	}
	writeConfig(t, dir, "limits: {http2_streams: 9}\nsites:\n  app.localhost: {routes: [{path: /a, proxy: 'http://127.0.0.1:8'}, {respond: {status: 204}}]}\n  new.localhost: http://127.0.0.1:7\n")
	p = admin.Plan{}
	if code := asked(t, path, &p, "plan"); code != exitOK || !p.OK {
		t.Fatalf("%d %+v", code, p)
	}
	var lines []string
	ended := 0
	for _, c := range p.Changes {
		lines = append(lines, strings.Join([]string{c.What, c.Kind, c.Name}, " "))
		ended += c.Connections
	}
	got := strings.Join(lines, "\n")
	for _, want := range []string{
		"changed site app.localhost", "removed site gone.localhost", "added site new.localhost", "removed upstream " + server.URL,
		"added upstream http://127.0.0.1:8", "added certificate new.localhost", "removed certificate gone.localhost", "changed setting limits",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "certificate app.localhost") || ended != 2 {
		t.Errorf("%d connections would be ended, want the two WebSockets; \n%s", ended, got)
	}
	if failures := load.end(); len(failures) > 0 {
		t.Errorf("a plan did something: %v", failures)
	}
	writeFile(t, path, strings.Replace(read(t, path), "storage: storage", "storage: other\nadmin: {socket: storage/sallyport.sock}", 1))
	p = admin.Plan{}
	if code := asked(t, path, &p, "plan"); code != exitFailure || p.Restart != "storage" {
		t.Errorf("storage: %d %+v", code, p)
	}
	writeFile(t, path, "storage: storage\nsites: {app.localhost: 'http://'}\n")
	p = admin.Plan{}
	if code := asked(t, path, &p, "plan", "--socket", filepath.Join(dir, "storage", "sallyport.sock")); code != exitConfig || len(p.Problems) == 0 {
		t.Errorf("wrong: %d %+v", code, p)
	}
}

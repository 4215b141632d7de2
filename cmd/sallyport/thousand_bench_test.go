package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/sallyport/sallyport/cmd/sallyport/logging"
	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/pressure"
)

// BenchmarkReloadAThousandSites is a reload with one changed route, from the
// file on the disk to what serves, without the process around it.
func BenchmarkReloadAThousandSites(b *testing.B) {
	dir := b.TempDir()
	path := filepath.Join(dir, "sallyport.yaml")
	write := func(last string) {
		text := "storage: " + dir + "/storage\nadmin: {socket: off}\nlisten: {http: off, https: '127.0.0.1:0'}\n" + thousand(1000, last)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	write("http://127.0.0.1:1")
	load := func() (*config.Config, config.Problems) { return config.Load(path) }
	cfg, problems := load()
	if err := problems.Err(); err != nil {
		b.Fatal(err)
	}
	log, err := logging.New(logging.Options{Config: cfg.Log, Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Start()()
	pacer := pressure.NewPacer()
	defer pacer.Stop()
	e, err := openEdge(context.Background(), edgeOptions{config: cfg, logging: log, memory: pacer})
	if err != nil {
		b.Fatal(err)
	}
	defer e.proxy.Close()
	defer e.listeners.Close()
	c := &control{edge: e, load: load, logging: log, logger: log.Logger, pacer: pacer}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		write([]string{"http://127.0.0.1:2", "http://127.0.0.1:1"}[n%2])
		if result := c.tryReload(b.Context()); !result.OK || !result.Changed {
			b.Fatal(result)
		}
	}
}

package proxy

import (
	"cmp"
	"net/http"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/failure"
	"github.com/sallyport/sallyport/proxy/fastcgi"
	"github.com/sallyport/sallyport/proxy/static"
	"github.com/sallyport/sallyport/proxy/tunnel"
)

// files makes the action that serves a folder.
func (b *routeBuilder) files() http.Handler {
	files := b.folder("files", b.filesOptions())
	if files == nil {
		return nil
	}
	return answering(files)
}

func (b *routeBuilder) filesOptions() static.Options {
	from := b.place.Files
	return static.Options{
		Root: absolute(from.Root), Index: from.Index, Try: from.Try, Hidden: hiddenNames(from.Hidden),
		Browse: from.Browse, Precompressed: from.Precompressed, CacheControl: from.CacheControl,
	}
}

// php makes the action that runs scripts, and serves what lies beside them.
func (b *routeBuilder) php() http.Handler {
	from := b.place.PHP
	o := b.scriptOptions()
	files := b.folder("php", o)
	if files == nil {
		return nil
	}
	at := failure.Origin{Site: b.site.Name, Server: from.Server}
	transport := fastcgi.Options{
		Server: from.Server, Timeout: from.Timeout,
		ConnectTimeout: b.cfg.Limits.ConnectTimeout, HeadBytes: int(b.cfg.Limits.ResponseHeaderBytes),
		Stderr: func(r *http.Request, script, text string) { b.proxy.scriptSaid(r, at, script, text) },
	}
	if own := b.place.ResponseTimeout; own != nil {
		transport.Timeout = *own
	}
	for _, pair := range from.Env {
		transport.Env = append(transport.Env, [2]string{pair.Name, pair.Value})
	}
	// No upgrade comes of a FastCGI server, so nothing is ever added to tunnels.
	run := &forward{proxy: b.proxy, to: fastcgi.New(transport), tunnels: new(tunnel.Set), at: at}
	action, err := fastcgi.NewPHP(fastcgi.PHPOptions{Files: files, Root: cmp.Or(from.ServerRoot, o.Root)}, run)
	if err != nil {
		b.fail("php.server_root", err)
		return nil
	}
	return action
}

// scriptOptions is what shapes the folder of scripts.
func (b *routeBuilder) scriptOptions() static.Options {
	from := b.place.PHP
	o := static.Options{Root: absolute(from.Root), Index: from.Index, Try: from.Try, Hidden: hiddenNames(from.Hidden)}
	if len(o.Index) == 0 {
		o.Index = []string{"index.php", "index.html"}
	}
	if len(o.Try) == 0 {
		o.Try = []string{"$path", "$path/", "/index.php"}
	}
	return o
}

// folderKey is under what a folder is kept.
type folderKey string

// folder opens a folder, or takes the one that is kept. One that is not there
// is no fault of the configuration, since it may be mounted later, but worth a
// word.
func (b *routeBuilder) folder(key string, o static.Options) *static.Files {
	files, err := keep(b.proxy, b.next, folderKey(o.Key()), func() (*static.Files, error) {
		made, err := static.New(o)
		if err != nil {
			return nil, err
		}
		if err := made.Check(); err != nil {
			b.proxy.logger.Warn("the folder of a site cannot be opened: its requests will fail until it can", zap.String("site", b.site.Name),
				zap.String("folder", o.Root), zap.Error(err), zap.String("hint", "does it exist, is it mounted here, and may sallyport's user enter it?"))
		}
		return made, nil
	})
	if err != nil {
		b.fail(key, err)
		return nil
	}
	return files
}

// absolute returns a path as it is from anywhere: one that the configuration
// has joined to its own folder is still relative if the file was named so.
func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path // what is made of it will complain
}

// hiddenNames is what is hidden: if nothing is said, names that begin with a
// dot.
func hiddenNames(from config.Texts) []string {
	if from == nil {
		return []string{".*"}
	}
	return from
}

package proxy

import (
	"net/http"

	"github.com/sallyport/sallyport/proxy/middleware/cache"
)

// cache keeps answers. Routes that inherit the site's share one, since it has
// the site's name; a reload keeps what is in it.
func (b *routeBuilder) cache() func(http.Handler) http.Handler {
	from := b.place.Cache
	if from == nil || from.Off {
		return nil
	}
	o := cache.Options{
		Name: b.where("cache"), Size: int64(from.Size), MaxObject: int64(from.MaxObject),
		Folder: from.Folder, FolderSize: int64(from.FolderSize),
		TTL: from.TTL, Heuristic: from.Heuristic,
		StaleWhileRevalidate: from.StaleWhileRevalidate, StaleIfError: from.StaleIfError,
		LockTimeout: from.LockTimeout, IgnoreRequest: from.IgnoreClient,
	}
	if o.Folder == "" {
		o.FolderSize = 0
	}
	made, err := keep(b.proxy, b.next, o, func() (*cache.Cache, error) { return cache.New(o) })
	if err != nil {
		b.fail("cache", err)
		return nil
	}
	return made.Wrap
}

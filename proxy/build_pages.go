package proxy

import (
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/middleware/pages"
)

// The keys under which pages are kept.
type (
	pagesKey       string
	maintenanceKey string
)

// errors gives failures the site's own pages.
func (b *routeBuilder) errors() func(http.Handler) http.Handler {
	if made := b.pages(); made != nil {
		return made.Wrap
	}
	return nil
}

// pages makes those of a route or, for what no route takes, of the site.
func (b *routeBuilder) pages() *pages.Pages {
	from := b.place.Errors
	if from == nil {
		return nil
	}
	o := pages.Options{Intercept: from.Intercept}
	for _, pair := range from.Pages {
		o.Files = append(o.Files, pages.File{Status: pair.Name, Path: absolute(pair.Value)})
	}
	made, err := keep(b.proxy, b.next, pagesKey(o.Key()), func() (*pages.Pages, error) { return pages.New(o, b.proxy.pageChanged) })
	if err != nil {
		key := "errors"
		if file, ok := errors.AsType[*pages.FileError](err); ok {
			key += ".pages[" + file.Status + "]"
		}
		b.fail(key, err)
		return nil
	}
	return made
}

// maintenance closes the site while a file exists.
func (b *routeBuilder) maintenance() func(http.Handler) http.Handler {
	from := b.place.Maintenance
	if from == nil {
		return nil
	}
	o := pages.MaintenanceOptions{File: absolute(from.File), Allow: config.Networks(from.Allow), RetryAfter: from.RetryAfter}
	made, err := keep(b.proxy, b.next, maintenanceKey(o.Key()), func() (*pages.Maintenance, error) {
		return pages.NewMaintenance(o, b.proxy.pageChanged)
	})
	if err != nil {
		b.fail("maintenance", err)
		return nil
	}
	return made.Wrap
}

// pageChanged tells what became of a page that was changed.
func (p *Proxy) pageChanged(err error) {
	if err == nil {
		p.logger.Info("a page has been read again")
		return
	}
	p.logger.Warn("a page cannot be used: the one before it stays, or the plain one", zap.Error(err))
}

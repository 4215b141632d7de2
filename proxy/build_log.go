package proxy

import (
	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/accesslog"
	"github.com/sallyport/sallyport/proxy/accesslog/sink"
)

// accessLog makes the log of what a key of the configuration describes, nil for
// none.
func (p *Proxy) accessLog(next *Generation, cfg *config.Config, from *config.AccessLog, path string) (*accesslog.Log, config.Problems) {
	if from == nil || from.Off || p.options.Logs == nil {
		return nil, nil
	}
	target := sink.Target{Output: from.Output, Size: int64(from.Rotate.Size), Keep: from.Rotate.Keep, Age: from.Rotate.Age}
	to, err := keep(p, next, target, func() (*heldSink, error) {
		opened, err := p.options.Logs.Open(target, nil)
		return &heldSink{set: p.options.Logs, target: target, sink: opened}, err
	})
	if err != nil {
		return nil, config.Problems{cfg.Problem(path, path+": "+err.Error(), "make the folder, and let sallyport's user write to it")}
	}
	log, err := accesslog.New(accesslog.Options{
		Format: accesslog.Format(from.Format), Sink: to.sink, Sample: from.Sample, Exclude: from.Exclude,
		RedactQuery: from.RedactQuery, Headers: from.Headers, Reveal: from.Reveal,
	})
	if err != nil {
		return nil, config.Problems{cfg.Problem(path, path+": "+err.Error(), "")}
	}
	return log, nil
}

// accessLog is the route's: its own or its site's, else what holds everywhere.
func (b *routeBuilder) accessLog() *accesslog.Log {
	from, path := b.place.AccessLog, b.where("access_log")
	if from == nil {
		from, path = b.cfg.Log.Access, "log.access"
	}
	log, problems := b.proxy.accessLog(b.next, b.cfg, from, path)
	b.problems = append(b.problems, problems...)
	return log
}

// heldSink is where access logs of generations are written to.
type heldSink struct {
	set    *sink.Set
	target sink.Target
	sink   *sink.Sink
	held   bool // guarded by Proxy.commits
}

// Start is called when a generation with it is committed.
func (h *heldSink) Start() {
	if !h.held {
		h.held = true
		h.set.Hold(h.target, h.sink)
	}
}

// Close is called when no generation has it any more.
func (h *heldSink) Close() {
	h.held = false
	h.set.Release(h.target, h.sink)
}

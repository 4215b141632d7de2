package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/admin"
)

// control turns signals into what the edge does.
type control struct {
	edge   *edge
	load   func() (*config.Config, config.Problems)
	notify func(state string)

	logging *logging
	logger  *zap.Logger
}

// run serves until a signal or a failure ends it.
func (c *control) run(ctx context.Context, signals <-chan os.Signal, ready func(*edge)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c.offer()
	done := make(chan error, 1)
	go func() { done <- c.edge.run(ctx) }() // waited for below, unless we are told not to

	c.logger.Info("serving",
		zap.Stringers("https", c.edge.addresses()),
		zap.Int("sites", len(c.edge.config.Sites)))
	c.notify("READY=1")
	if ready != nil {
		ready(c.edge)
	}
	urgency := serving
	for {
		select {
		case err := <-done:
			if err == nil {
				c.logger.Info("stopped")
			}
			return err
		case received := <-signals:
			if received == syscall.SIGHUP {
				c.reload()
				continue
			}
			urgency = urgency.after(received)
			c.logger.Info("stopping", zap.Stringer("signal", received), zap.Bool("graceful", urgency == finishing))
			c.notify("STOPPING=1")
			stop()
			switch urgency {
			case cutting:
				c.edge.listeners.Close()
			case leaving:
				return errLeft
			}
		}
	}
}

// level is how urgent a stop is. Each further signal makes it more so.
type level int

const (
	serving   level = iota
	finishing       // requests in flight finish, within limits.shutdown_timeout
	cutting         // connections are cut; challenge records are still removed from DNS
	leaving         // nothing is waited for
)

// errLeft ends a process that was told to stop and then not to wait.
var errLeft = errors.New("stopped without waiting for anything; records that are left in DNS are removed at the next start")

// after returns the level that a signal leads to.
func (l level) after(received os.Signal) level {
	wanted := cutting
	if received == syscall.SIGQUIT {
		wanted = finishing
	}
	return min(max(l+1, wanted), leaving)
}

// offer hangs what can be asked and done on the control socket.
func (c *control) offer() {
	e := c.edge
	if e.admin == nil {
		return
	}
	e.admin.Serve(admin.Control{
		Status:   e.status,
		Pulse:    e.pulse,
		Reload:   func(context.Context) admin.Reload { return c.reload() },
		Renew:    e.certificates.Renew,
		Purge:    e.proxy.Purge,
		Drain:    e.proxy.Drain,
		LogLevel: c.logging.setLevel,
		Explain:  e.explain,
	})
}

// reload reads the configuration again, and remembers and returns what came of
// it. Whatever is wrong with the new one, the old one keeps serving.
func (c *control) reload() admin.Reload {
	result := c.tryReload()
	c.edge.mu.Lock()
	c.edge.last = &result
	c.edge.mu.Unlock()
	return result
}

func (c *control) tryReload() admin.Reload {
	result := admin.Reload{At: time.Now().UTC()}
	cfg, problems := c.load()
	if err := problems.Err(); err != nil {
		logProblems(c.logger, problems)
		result.Problems = problemsOf(problems)
		result.Error = "the configuration has problems; the previous one keeps serving"
		result.Hint = "mend them; sallyport check shows them with their lines"
		c.logger.Error("reload failed; the previous configuration keeps serving",
			zap.String("hint", "mend the problems above; sallyport check shows them with their lines"))
		return result
	}
	before := c.edge.hash()
	more, err := c.edge.reload(cfg)
	problems = append(problems, more...)
	logProblems(c.logger, problems)
	result.Problems = problemsOf(problems)
	if err != nil {
		result.Error, result.Hint = err.Error()+"; the previous configuration keeps serving", hintOf(err)
		c.logger.Error("reload failed; the previous configuration keeps serving",
			zap.Error(err), zap.String("hint", hintOf(err)))
		return result
	}
	tuneMemory(cfg.Runtime, c.logger)
	c.logger.Info("configuration reloaded", zap.Int("sites", len(cfg.Sites)), zap.String("hash", cfg.Hash()))
	result.OK, result.Changed = true, cfg.Hash() != before
	return result
}

// needsRestart names the first setting that differs and that only a restart
// can change, or is empty.
func needsRestart(before, after *config.Config) string {
	switch {
	case !slices.Equal(before.Listen.HTTP, after.Listen.HTTP):
		return "listen.http"
	case !slices.Equal(before.Listen.HTTPS, after.Listen.HTTPS):
		return "listen.https"
	case before.Listen.HTTP3 != after.Listen.HTTP3:
		return "listen.http3"
	case !slices.Equal(before.Listen.ProxyProtocol, after.Listen.ProxyProtocol):
		return "listen.proxy_protocol"
	case before.Storage != after.Storage:
		return "storage"
	case before.SocketPath() != after.SocketPath():
		return "admin.socket"
	case !slices.Equal(before.Admin.Listen, after.Admin.Listen):
		return "admin.listen"
	case before.Log != after.Log:
		return "log"
	case before.Runtime.Pressure != after.Runtime.Pressure:
		return "runtime.pressure"
	case listenLimits(before.Limits) != listenLimits(after.Limits):
		return "a limit of the listeners (connections, connections_per_address, request_header_bytes, request_header_count, uri_length, request_header_timeout, handshake_timeout, idle_timeout, min_rate, min_rate_grace, http2_streams or shutdown_timeout)"
	}
	return ""
}

// listenLimits keeps of the limits those that the listeners are opened with.
func listenLimits(limits config.Limits) config.Limits {
	return config.Limits{
		Connections:           limits.Connections,
		ConnectionsPerAddress: limits.ConnectionsPerAddress,
		MinRate:               limits.MinRate,
		MinRateGrace:          limits.MinRateGrace,
		RequestHeaderBytes:    limits.RequestHeaderBytes,
		RequestHeaderCount:    limits.RequestHeaderCount,
		URILength:             limits.URILength,
		RequestHeaderTimeout:  limits.RequestHeaderTimeout,
		HandshakeTimeout:      limits.HandshakeTimeout,
		IdleTimeout:           limits.IdleTimeout,
		HTTP2Streams:          limits.HTTP2Streams,
		ShutdownTimeout:       limits.ShutdownTimeout,
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/cmd/sallyport/logging"
	"github.com/sallyport/sallyport/cmd/sallyport/mount"
	"github.com/sallyport/sallyport/cmd/sallyport/tables"
	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/admin"
	"github.com/sallyport/sallyport/proxy/pressure"
)

// control turns signals, requests of the admin API and changed files into what
// the edge does.
type control struct {
	edge    *edge
	load    func() (*config.Config, config.Problems)
	service serviceManager

	logging *logging.Log
	logger  *zap.Logger
	pacer   *pressure.Pacer

	reloading sync.Mutex
	upgrading sync.Mutex
	replaced  chan *successor // gets the process that has taken over
}

// run serves until a signal or a failure ends it.
func (c *control) run(ctx context.Context, signals <-chan os.Signal, ready func(*edge)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c.replaced = make(chan *successor, 1)
	c.offer()
	done := make(chan error, 1)
	go func() { done <- c.edge.run(ctx) }() // waited for below, unless we are told not to
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	watching.Go(func() { c.watch(ctx) })

	c.logger.Info("serving",
		zap.Stringers("https", c.edge.addresses()),
		zap.Int("sites", len(c.edge.config.Sites)))
	c.edge.before.report(nil)
	c.tell("READY=1\n" + c.summary())
	if ready != nil {
		ready(c.edge)
	}
	return c.loop(stop, done, signals)
}

// loop does what signals say. That it goes round is what the service manager's
// watchdog is told.
func (c *control) loop(stop func(), done <-chan error, signals <-chan os.Signal) error {
	alive := c.service.watchdog()
	defer alive.Stop()
	var yielding sync.WaitGroup // ends with the edge
	var drain <-chan time.Time  // when it is time to drain
	urgency := serving
	for {
		select {
		case err := <-done:
			yielding.Wait()
			if err == nil {
				c.logger.Info("stopped")
			}
			return err
		case <-alive.C:
			c.tell("WATCHDOG=1")
		case <-drain:
			stop()
		case next := <-c.replaced:
			yielding.Go(func() { c.yield(next, stop) })
		case received := <-signals:
			switch received {
			case syscall.SIGHUP:
				c.reload(context.Background())
				continue
			case syscall.SIGUSR1:
				c.logging.Outputs.Reopen()
				c.logger.Info("logs reopened")
				continue
			}
			urgency = urgency.after(received)
			c.logger.Info("stopping", zap.Stringer("signal", received), zap.Bool("graceful", urgency == finishing))
			c.tell("STOPPING=1\nSTATUS=stopping")
			switch urgency {
			case finishing:
				drain = c.lastCall()
				continue
			case cutting:
				c.edge.listeners.Hurry()
			case leaving:
				return errLeft
			}
			stop()
		}
	}
}

// lastCall turns the health endpoints red, and returns what tells that those who
// ask them have had their time to send nobody here any more.
func (c *control) lastCall() <-chan time.Time {
	c.edge.stopping.Store(true)
	c.edge.mu.Lock()
	delay := c.edge.config.Limits.PreStopDelay
	c.edge.mu.Unlock()
	if delay > 0 {
		c.logger.Info("serving on until others have noticed", zap.Int64("pre_stop_delay_ms", delay.Milliseconds()))
	}
	return time.After(delay)
}

// tell tells the service manager something.
func (c *control) tell(state string) {
	if err := c.service.notify(state); err != nil {
		c.logger.Warn("service manager not told", zap.String("state", state), zap.Error(err))
	}
}

// summary is what the service manager shows of a process that serves.
func (c *control) summary() string {
	e := c.edge
	e.mu.Lock()
	defer e.mu.Unlock()
	text := fmt.Sprintf("STATUS=serving %d sites, configuration %s of %s", len(e.config.Sites), e.config.Hash(), e.loaded.Format(time.RFC3339))
	if e.last != nil && !e.last.OK {
		text += "; the last reload failed: " + tables.OneLine(e.last.Error)
	}
	return text
}

// level is how urgent a stop is. Each further signal makes it more so.
type level int

const (
	serving   level = iota
	finishing       // requests in flight finish, within limits.shutdown_timeout
	cutting         // they get a second; challenge records are still removed from DNS
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
		Reload:   c.reload,
		Upgrade:  c.upgrade,
		Plan:     c.plan,
		Renew:    e.renew,
		Purge:    e.proxy.Purge,
		Drain:    e.proxy.Drain,
		LogLevel: c.logging.SetLevel,
		Explain:  e.explain,
	})
}

// reload reads the configuration again, and remembers and returns what came of
// it. Whatever is wrong with the new one, the old one keeps serving.
func (c *control) reload(ctx context.Context) admin.Reload {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	c.tell(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonic().Microseconds()))
	// Whoever asked may go away; half a reload there is not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reloadTimeout)
	defer cancel()
	result := c.tryReload(ctx)
	c.edge.mu.Lock()
	c.edge.last = &result
	c.edge.mu.Unlock()
	c.tell("READY=1\n" + c.summary())
	return result
}

// reloadTimeout bounds what a reload waits for, which is next to nothing.
const reloadTimeout = 20 * time.Second

func (c *control) tryReload(ctx context.Context) admin.Reload {
	began := time.Now()
	result := admin.Reload{At: began.UTC()}
	if stale := c.edge.stale(); stale != "" {
		c.logger.Warn("the configuration file is not the one that was edited", zap.String("cause", stale), zap.String("hint", mount.StaleHint))
		result.Problems = append(result.Problems, admin.Problem{Place: c.edge.path(), Message: stale, Hint: mount.StaleHint, Warning: true})
	}
	cfg, problems := c.load()
	if err := problems.Err(); err != nil {
		logProblems(c.logger, problems)
		result.Problems = append(result.Problems, problemsOf(problems)...)
		result.Error = "the configuration has problems; the previous one keeps serving"
		result.Hint = "mend them; sallyport check shows them with their lines"
		c.logger.Error("reload failed; the previous configuration keeps serving",
			zap.String("hint", "mend the problems above; sallyport check shows them with their lines"))
		return result
	}
	before := c.edge.hash()
	more, err := c.edge.reload(ctx, cfg)
	problems = append(problems, more...)
	logProblems(c.logger, problems)
	result.Problems = append(result.Problems, problemsOf(problems)...)
	if err != nil {
		result.Error, result.Hint = err.Error()+"; the previous configuration keeps serving", hintOf(err)
		c.logger.Error("reload failed; the previous configuration keeps serving",
			zap.Error(err), zap.String("hint", hintOf(err)))
		return result
	}
	tuneMemory(cfg.Runtime, c.pacer, c.logger)
	c.logger.Info("configuration reloaded", zap.Int("sites", len(cfg.Sites)), zap.String("hash", cfg.Hash()),
		zap.Int64("duration_ms", time.Since(began).Milliseconds()))
	result.OK, result.Changed = true, cfg.Hash() != before
	return result
}

// needsRestart names the first setting that differs and that only a restart
// can change, or is empty. Where certificates are kept and where commands find
// the process are what others know it by.
func needsRestart(before, after *config.Config) string {
	switch {
	case before.Storage != after.Storage:
		return "storage"
	case before.SocketPath() != after.SocketPath():
		return "admin.socket"
	case !slices.Equal(before.Admin.Listen, after.Admin.Listen):
		return "admin.listen"
	}
	return ""
}

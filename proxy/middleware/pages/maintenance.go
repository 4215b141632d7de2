package pages

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// MaintenanceOptions is what shapes a Maintenance.
type MaintenanceOptions struct {
	// File switches maintenance on while it exists, and is the page; empty, the
	// page is that of status 503. Absolute.
	File string

	// Allow are the clients that are served all the same.
	Allow []netip.Prefix

	// RetryAfter is what clients are told to wait. Zero or negative: 5 minutes.
	RetryAfter time.Duration
}

// Key identifies what a Maintenance with these options does.
func (o MaintenanceOptions) Key() string { return fmt.Sprintf("%#v", o) }

// Maintenance answers 503 while a file exists. It may be used by many
// goroutines.
type Maintenance struct {
	options MaintenanceOptions
	retry   string
	changed func(error)

	next  atomic.Int64 // when to look again, Unix nanoseconds
	busy  atomic.Bool
	state atomic.Pointer[state]
}

// state is what was last seen of the file.
type state struct {
	on       bool
	modified time.Time
	size     int64
	page     *page // nil: the one of status 503
}

// lookAfter is how often it is asked whether the file exists.
const lookAfter = time.Second

var errMaintenance = &exchange.Refusal{Status: http.StatusServiceUnavailable, Label: "maintenance", Reason: "the site is being worked on", Quiet: true}

// NewMaintenance looks whether the file exists. changed is called when a file
// that was put there cannot be read or is no template; the site is closed all
// the same.
func NewMaintenance(o MaintenanceOptions, changed func(error)) (*Maintenance, error) {
	if !filepath.IsAbs(o.File) {
		return nil, fmt.Errorf("%q: not an absolute path", o.File)
	}
	if o.RetryAfter <= 0 {
		o.RetryAfter = 5 * time.Minute
	}
	m := &Maintenance{options: o, retry: strconv.Itoa(max(1, int(o.RetryAfter/time.Second))), changed: changed}
	m.state.Store(&state{})
	return m, nil
}

// Wrap closes next while the file exists.
func (m *Maintenance) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := m.look()
		if !now.on {
			next.ServeHTTP(w, r)
			return
		}
		x := exchange.Of(r)
		if slices.ContainsFunc(m.options.Allow, func(p netip.Prefix) bool { return p.Contains(x.Client) }) {
			next.ServeHTTP(w, r)
			return
		}
		if now.page != nil {
			x.Pages = now
		}
		w.Header().Set("Retry-After", m.retry)
		exchange.Refuse(w, r, errMaintenance)
	})
}

// Page implements [exchange.Pages].
func (s *state) Page(w http.ResponseWriter, r *http.Request, status int) bool {
	letThrough(w)
	return !wantsData(r) && s.page.write(w, r, status)
}

// look returns how it stands, looking at the file at most once a second.
func (m *Maintenance) look() *state {
	now := time.Now().UnixNano()
	if now < m.next.Load() || !m.busy.CompareAndSwap(false, true) {
		return m.state.Load()
	}
	defer m.busy.Store(false)
	before := m.state.Load()
	if after := m.read(before); after != before {
		m.state.Store(after)
	}
	m.next.Store(now + int64(lookAfter))
	return m.state.Load()
}

func (m *Maintenance) read(before *state) *state {
	info, err := os.Stat(m.options.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if !before.on {
			return before
		}
		return &state{}
	case err != nil:
		return before // not known: as it was
	case before.on && info.ModTime().Equal(before.modified) && info.Size() == before.size:
		return before
	}
	after := &state{on: true, modified: info.ModTime(), size: info.Size()}
	if info.Size() > 0 || !info.Mode().IsRegular() {
		if after.page, err = readPage(m.options.File); err != nil && m.changed != nil {
			m.changed(fmt.Errorf("%s: %w", m.options.File, err))
		}
	}
	return after
}

func readPage(path string) (*page, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(file, mostPage+1))
	if err != nil {
		return nil, err
	}
	return parse(path, text)
}

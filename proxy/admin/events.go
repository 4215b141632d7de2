package admin

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap/zapcore"
)

// mostEvents bounds what is remembered; the oldest goes.
const mostEvents = 100

// mostEventText bounds one text of an event, in bytes.
const mostEventText = 500

// Events remembers what was logged at the level of a warning or worse. It is a
// zap core: tee it with the one that writes the log.
type Events struct {
	mu   sync.Mutex
	list []Event // the latest last
	seen uint64
}

// NewEvents returns an empty memory.
func NewEvents() *Events { return &Events{} }

// Revision changes with every event.
func (e *Events) Revision() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen
}

// List returns what is remembered, the latest first.
func (e *Events) List() []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := append([]Event{}, e.list...) // never nil: it becomes a list in JSON
	slices.Reverse(list)
	return list
}

// Core returns the core that fills e.
func (e *Events) Core() zapcore.Core { return &eventCore{events: e} }

// add takes an event in: with the like of it if there is one.
func (e *Events) add(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.list {
		known := &e.list[i]
		if known.Message == event.Message && known.Error == event.Error && known.Logger == event.Logger && sameSubject(known.Fields, event.Fields) {
			event.Count += known.Count
			e.list = slices.Delete(e.list, i, i+1)
			break
		}
	}
	e.seen++
	e.list = append(e.list, event)
	if len(e.list) > mostEvents {
		e.list = slices.Delete(e.list, 0, len(e.list)-mostEvents)
	}
}

// subjects are the fields that tell two events apart whose texts are the same.
func subjects() []string {
	return []string{"site", "upstream", "server", "name", "identifier", "credential", "zone", "cause"}
}

func sameSubject(a, b map[string]string) bool {
	for _, key := range subjects() {
		if a[key] != b[key] {
			return false
		}
	}
	return true
}

type eventCore struct {
	events *Events
	fields []zapcore.Field
}

func (c *eventCore) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

func (c *eventCore) With(fields []zapcore.Field) zapcore.Core {
	return &eventCore{c.events, slices.Concat(c.fields, fields)}
}

func (c *eventCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c *eventCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	all := zapcore.NewMapObjectEncoder()
	for _, field := range slices.Concat(c.fields, fields) {
		field.AddTo(all)
	}
	event := Event{
		At: entry.Time.UTC().Truncate(time.Millisecond), Level: entry.Level.String(), Logger: entry.LoggerName,
		Message: bounded(entry.Message), Count: 1, Fields: make(map[string]string),
	}
	for key, value := range all.Fields {
		text := bounded(fmt.Sprint(value))
		switch key {
		case "error":
			event.Error = text
		case "hint":
			event.Hint = text
		case "suppressed":
			if n, ok := value.(int64); ok {
				event.Count += int(n)
			}
		case "stack", "errorVerbose":
		default:
			event.Fields[key] = text
		}
	}
	c.events.add(event)
	return nil
}

func (c *eventCore) Sync() error { return nil }

func bounded(text string) string {
	if len(text) > mostEventText {
		return text[:mostEventText] + "…"
	}
	return text
}

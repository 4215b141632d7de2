package logging

import (
	"slices"
	"sync/atomic"

	"go.uber.org/zap/zapcore"
)

// coreSwitch is a zap core that passes everything on to another, which can be
// replaced: loggers that were made before write to the new one.
type coreSwitch struct {
	current *atomic.Pointer[zapcore.Core]
	fields  []zapcore.Field
}

func newCoreSwitch(core zapcore.Core) *coreSwitch {
	c := &coreSwitch{current: new(atomic.Pointer[zapcore.Core])}
	c.set(core)
	return c
}

func (c *coreSwitch) set(core zapcore.Core) { c.current.Store(&core) }

func (c *coreSwitch) get() zapcore.Core { return *c.current.Load() }

// Enabled implements [zapcore.LevelEnabler].
func (c *coreSwitch) Enabled(level zapcore.Level) bool { return c.get().Enabled(level) }

// With implements [zapcore.Core]. The fields are kept as they are, for whoever
// will write them.
func (c *coreSwitch) With(fields []zapcore.Field) zapcore.Core {
	return &coreSwitch{c.current, slices.Concat(c.fields, fields)}
}

// Check implements [zapcore.Core].
func (c *coreSwitch) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

// Write implements [zapcore.Core].
func (c *coreSwitch) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	if len(c.fields) > 0 {
		fields = slices.Concat(c.fields, fields)
	}
	return c.get().Write(entry, fields)
}

// Sync implements [zapcore.Core].
func (c *coreSwitch) Sync() error { return c.get().Sync() }

package tlsmgr

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// demote returns a logger that writes everything at debug level. certmagic and
// acmez say each step of an order, and each error on its way up; the manager
// says the outcome once, with what to do.
func demote(logger *zap.Logger) *zap.Logger {
	return logger.WithOptions(
		zap.WrapCore(func(core zapcore.Core) zapcore.Core { return demotedCore{core} }),
		zap.AddStacktrace(zapcore.InvalidLevel), // no stack trace for what was an error
	)
}

type demotedCore struct{ zapcore.Core }

func (c demotedCore) Enabled(zapcore.Level) bool { return c.Core.Enabled(zapcore.DebugLevel) }

func (c demotedCore) With(fields []zapcore.Field) zapcore.Core {
	return demotedCore{c.Core.With(fields)}
}

func (c demotedCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(entry.Level) {
		return checked
	}
	return checked.AddCore(entry, c)
}

func (c demotedCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	entry.Level = zapcore.DebugLevel
	return c.Core.Write(entry, fields)
}

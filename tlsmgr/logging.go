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

// overhear returns a logger whose lines are also told: some of what the ACME
// client does it says there and nowhere else.
func overhear(logger *zap.Logger, tell func(zapcore.Entry, []zapcore.Field)) *zap.Logger {
	return logger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core { return callCore{core, tell} }))
}

// statusHeard tells of the status of a CA's answer, if a line is about one: the
// ACME client's own HTTP client cannot be reached.
func statusHeard(entry zapcore.Entry, fields []zapcore.Field, tell func(status int)) {
	if entry.Message != "http request" {
		return
	}
	for _, field := range fields {
		if field.Key == "status_code" && field.Type == zapcore.Int64Type {
			tell(int(field.Integer))
		}
	}
}

// callCore takes every line, so that it sees those which are not written.
type callCore struct {
	zapcore.Core
	tell func(zapcore.Entry, []zapcore.Field)
}

func (c callCore) Enabled(zapcore.Level) bool { return true }

func (c callCore) With(fields []zapcore.Field) zapcore.Core {
	return callCore{c.Core.With(fields), c.tell}
}

func (c callCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return checked.AddCore(entry, c)
}

func (c callCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	c.tell(entry, fields)
	if !c.Core.Enabled(entry.Level) {
		return nil
	}
	return c.Core.Write(entry, fields)
}

package main

import (
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/admin"
)

// logging is the process's log: where it goes, from which level on, and what
// is remembered of it for the status page.
type logging struct {
	*zap.Logger
	level  zap.AtomicLevel
	events *admin.Events
	w      io.Writer
	core   *coreSwitch // what writes; replaced by a reload
}

// prepare makes what other options need; what it returns puts them into force
// and cannot fail.
func (l *logging) prepare(options config.Log) (commit func(), err error) {
	level, err := zapcore.ParseLevel(options.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	core, err := newCore(options, l.w, l.level)
	if err != nil {
		return nil, err
	}
	return func() {
		l.level.SetLevel(level)
		l.core.set(core)
	}, nil
}

// reopen opens files that are written to anew. Standard error is none.
func (l *logging) reopen() error { return nil }

// setLevel changes the level, and returns what it was.
func (l *logging) setLevel(word string) (before string, err error) {
	before = l.level.String()
	level, err := zapcore.ParseLevel(word)
	if err != nil || level > zapcore.ErrorLevel {
		return before, &exitError{err: fmt.Errorf("there is no log level %q", word), hint: "debug, info, warn and error are"}
	}
	l.level.SetLevel(level)
	return before, nil
}

// newLogging makes the process's log. It writes whole lines to w, one at a
// time; the configuration was validated, so an unknown word is a defect of ours.
func newLogging(options config.Log, w io.Writer) (*logging, error) {
	level, err := zap.ParseAtomicLevel(options.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	core, err := newCore(options, w, level)
	if err != nil {
		return nil, err
	}
	events, turn := admin.NewEvents(), newCoreSwitch(core)
	logger := zap.New(zapcore.NewTee(turn, events.Core()), zap.ErrorOutput(zapcore.Lock(zapcore.AddSync(w))))
	return &logging{logger, level, events, w, turn}, nil
}

// newCore makes what writes the log.
func newCore(options config.Log, w io.Writer, level zap.AtomicLevel) (zapcore.Core, error) {
	fields := zapcore.EncoderConfig{
		TimeKey:        "time",
		LevelKey:       "level",
		NameKey:        "logger",
		MessageKey:     "message",
		StacktraceKey:  "stack",
		LineEnding:     zapcore.DefaultLineEnding,
		EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.MillisDurationEncoder,
	}
	var encoder zapcore.Encoder
	switch options.Format {
	case "json":
		encoder = zapcore.NewJSONEncoder(fields)
	case "console":
		fields.EncodeLevel = zapcore.CapitalLevelEncoder
		fields.EncodeTime = func(t time.Time, enc zapcore.PrimitiveArrayEncoder) {
			enc.AppendString(t.Format("2006-01-02 15:04:05.000"))
		}
		fields.ConsoleSeparator = "  "
		encoder = zapcore.NewConsoleEncoder(fields)
	default:
		return nil, fmt.Errorf("log.format: unknown format %q", options.Format)
	}
	return zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level), nil
}

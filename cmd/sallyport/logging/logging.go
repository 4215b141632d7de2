package logging

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/accesslog/sink"
	"github.com/sallyport/sallyport/proxy/admin"
)

// Log is the process's log: where it goes, from which level on, and what is
// remembered of it for the status page.
type Log struct {
	*zap.Logger
	Events  *admin.Events // what went wrong lately
	Outputs *sink.Set     // what access logs write to, too
	level   zap.AtomicLevel
	core    *coreSwitch // what writes; replaced by a reload

	mu     sync.Mutex // guards where the process's own lines go
	target sink.Target
	sink   *sink.Sink
}

// Options is where a log can go.
type Options struct {
	Config         config.Log // validated
	Stdout, Stderr io.Writer
}

// Error is why the log cannot be what is asked of it.
type Error struct {
	Err  error
	Cure string
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Error) Hint() string { return e.Cure }

// SetLevel changes the level, and returns what it was.
func (l *Log) SetLevel(word string) (before string, err error) {
	before = l.level.String()
	level, err := zapcore.ParseLevel(word)
	if err != nil || level > zapcore.ErrorLevel {
		return before, &Error{fmt.Errorf("there is no log level %q", word), "debug, info, warn and error are"}
	}
	l.level.SetLevel(level)
	return before, nil
}

// New opens the process's log. It starts nothing: lines wait until Start.
// The configuration was validated, so an unknown word is a defect of ours.
func New(options Options) (*Log, error) {
	level, err := zap.ParseAtomicLevel(options.Config.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	l := &Log{level: level, Events: admin.NewEvents()}
	l.Outputs = sink.NewSet(sink.SetOptions{Stdout: options.Stdout, Stderr: options.Stderr, Trouble: l.trouble, Lost: l.lost})
	core, target, to, err := l.open(options.Config)
	if err != nil {
		return nil, err
	}
	l.Outputs.Hold(target, to)
	l.target, l.sink, l.core = target, to, newCoreSwitch(core)
	l.Logger = zap.New(zapcore.NewTee(l.core, l.Events.Core()), zap.ErrorOutput(zapcore.Lock(zapcore.AddSync(options.Stderr))))
	return l, nil
}

// open makes what writes the log as options say. It starts nothing.
func (l *Log) open(options config.Log) (zapcore.Core, sink.Target, *sink.Sink, error) {
	rotate := options.Rotate
	target := sink.Target{Output: cmp.Or(options.Output, "stderr"), Size: int64(rotate.Size), Keep: rotate.Keep, Age: rotate.Age}
	encoder, err := encoderOf(options.Format)
	if err != nil {
		return nil, target, nil, err
	}
	to, err := l.Outputs.Open(target, func(lines uint64) []byte { return noticeOf(encoder, lines) })
	if err != nil {
		return nil, target, nil, &Error{fmt.Errorf("log.output: %w", err), "make the folder, and let sallyport's user write to it"}
	}
	return zapcore.NewCore(encoder, to, l.level), target, to, nil
}

// Prepare opens what other options name; what it returns puts them into force
// and cannot fail.
func (l *Log) Prepare(options config.Log) (commit func(), err error) {
	level, err := zapcore.ParseLevel(options.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	core, target, to, err := l.open(options)
	if err != nil {
		return nil, err
	}
	return func() {
		l.Outputs.Hold(target, to)
		l.level.SetLevel(level)
		l.core.set(core)
		l.mu.Lock()
		before, held := l.target, l.sink
		l.target, l.sink = target, to
		l.mu.Unlock()
		l.Outputs.Release(before, held)
	}, nil
}

// Start writes what is logged until what it returns is called: that waits until
// everything is written, for two seconds if the target takes nothing.
func (l *Log) Start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = l.Outputs.Run(ctx) }) // it returns nil
	return func() {
		cancel()
		group.Wait()
	}
}

// Trouble is what is logged, once, when an output fails.
const Trouble = "log output does not take lines; serving goes on without them"

// trouble tells, once, that an output fails, and that it works again. If it is
// the process's own log, standard error gets the line and the status page.
func (l *Log) trouble(output string, err error) {
	log := l.Logger
	l.mu.Lock()
	own := l.target.Output
	l.mu.Unlock()
	if own == output {
		core := l.Events.Core()
		if own != "stderr" {
			if to, failed := l.Outputs.Open(sink.Target{Output: "stderr"}, nil); failed == nil {
				l.Outputs.Hold(sink.Target{Output: "stderr"}, to)
				defer l.Outputs.Release(sink.Target{Output: "stderr"}, to)
				if encoder, failed := encoderOf("console"); failed == nil {
					core = zapcore.NewTee(core, zapcore.NewCore(encoder, to, zapcore.InfoLevel))
				}
			}
		}
		log = zap.New(core)
	}
	if err == nil {
		log.Info("log output takes lines again", zap.String("output", output))
		return
	}
	log.Error(Trouble, zap.String("output", output), zap.Error(err), zap.String("hint", logCure(err)))
}

// lost tells how many lines of an access log were dropped.
func (l *Log) lost(output string, lines uint64) {
	l.Warn("log lines dropped", zap.String("output", output), zap.Uint64("lines", lines), zap.String("hint", droppedHint))
}

const droppedHint = "the output takes them too slowly: log less (log.access.sample, exclude), or write to a faster disk"

// logCure is what to do about an output that fails.
func logCure(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "the disk is full: free space; log.rotate bounds what logs take"
	case errors.Is(err, syscall.EROFS):
		return "the file system is read-only: name a folder that can be written to"
	case errors.Is(err, fs.ErrPermission):
		return "let sallyport's user write to the file and its folder"
	case errors.Is(err, fs.ErrNotExist):
		return "the folder is gone: make it again"
	case errors.Is(err, syscall.EPIPE):
		return "who reads the output is gone: start it again"
	case errors.Is(err, sink.ErrStuck):
		return "who reads the output has stopped reading: look at the container engine's log driver, or the program behind the pipe"
	case errors.Is(err, syscall.EIO):
		return "the disk or terminal is failing"
	}
	return "see log.output and log.access.output"
}

// noticeOf is the line that stands where lines are missing.
func noticeOf(encoder zapcore.Encoder, lines uint64) []byte {
	entry := zapcore.Entry{Level: zapcore.WarnLevel, Time: time.Now(), Message: "log lines dropped"}
	line, err := encoder.Clone().EncodeEntry(entry, []zapcore.Field{zap.Uint64("lines", lines), zap.String("hint", droppedHint)})
	if err != nil {
		return nil
	}
	defer line.Free()
	return bytes.Clone(line.Bytes())
}

// encoderOf returns what makes lines of a format.
func encoderOf(format string) (zapcore.Encoder, error) {
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
	switch format {
	case "json":
		return zapcore.NewJSONEncoder(fields), nil
	case "logfmt":
		return newLogfmt(), nil
	case "console":
		fields.EncodeLevel = zapcore.CapitalLevelEncoder
		fields.EncodeTime = func(t time.Time, enc zapcore.PrimitiveArrayEncoder) {
			enc.AppendString(t.Format("2006-01-02 15:04:05.000"))
		}
		fields.ConsoleSeparator = "  "
		return zapcore.NewConsoleEncoder(fields), nil
	}
	return nil, fmt.Errorf("log.format: unknown format %q", format)
}

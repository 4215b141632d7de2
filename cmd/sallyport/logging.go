package main

import (
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/config"
)

// newLogger makes the process's logger. It writes whole lines to w, one at a
// time; the configuration was validated, so an unknown word is a defect of ours.
func newLogger(options config.Log, w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(options.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
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
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level)
	return zap.New(core, zap.ErrorOutput(zapcore.Lock(zapcore.AddSync(w)))), nil
}

package logging

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// logfmt makes lines of key=value, as Loki and Heroku read them. zap has no
// encoder for that; values that are not simple stand there as JSON.
type logfmt struct {
	*zapcore.MapObjectEncoder // fields that the logger has itself
	buffers                   buffer.Pool
}

func newLogfmt() *logfmt {
	return &logfmt{zapcore.NewMapObjectEncoder(), buffer.NewPool()}
}

// Clone implements zapcore.Encoder.
func (l *logfmt) Clone() zapcore.Encoder {
	own := zapcore.NewMapObjectEncoder()
	maps.Copy(own.Fields, l.Fields)
	return &logfmt{own, l.buffers}
}

// EncodeEntry implements zapcore.Encoder.
func (l *logfmt) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	line := l.buffers.Get()
	line.AppendString("time=" + entry.Time.Format(time.RFC3339Nano) + " level=" + entry.Level.String())
	if entry.LoggerName != "" {
		pair(line, "logger", entry.LoggerName)
	}
	pair(line, "message", entry.Message)
	all(line, l.Fields)
	for _, field := range fields {
		one := zapcore.NewMapObjectEncoder()
		field.AddTo(one)
		all(line, one.Fields)
	}
	if entry.Stack != "" {
		pair(line, "stack", entry.Stack)
	}
	line.AppendByte('\n')
	return line, nil
}

// all appends pairs, sorted by key.
func all(line *buffer.Buffer, fields map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		pair(line, key, fields[key])
	}
}

// pair appends one pair. A text stands without quotes if nothing in it could be
// taken for the end of it.
func pair(line *buffer.Buffer, key string, value any) {
	line.AppendByte(' ')
	line.AppendString(keyOf(key))
	line.AppendByte('=')
	text, ok := value.(string)
	switch v := value.(type) {
	case string:
	case time.Duration:
		text, ok = strconv.FormatFloat(float64(v)/float64(time.Millisecond), 'f', -1, 64), true
	case time.Time:
		text, ok = v.Format(time.RFC3339Nano), true
	}
	if !ok {
		made, err := json.Marshal(value)
		if err != nil {
			made = []byte("?")
		}
		text = string(made)
	}
	if text == "" || strings.ContainsFunc(text, special) {
		text = strconv.QuoteToASCII(text)
	}
	line.AppendString(text)
}

// keyOf returns what stands for a key. There are no quotes around one, so what
// would end it early, or the line, becomes an underscore.
func keyOf(key string) string {
	if key == "" {
		return "_"
	}
	if !strings.ContainsFunc(key, special) {
		return key
	}
	return strings.Map(func(r rune) rune {
		if special(r) {
			return '_'
		}
		return r
	}, key)
}

// special reports whether a character means something in a line, or is not
// printable ASCII.
func special(r rune) bool {
	return r <= ' ' || r >= 0x7f || r == '"' || r == '=' || r == '\\'
}

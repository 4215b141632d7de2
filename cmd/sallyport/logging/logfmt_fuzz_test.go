package logging

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// FuzzLogfmtLineIsReadBackToItsFields: whatever stands in a line, it is one
// line, of printable ASCII, and who splits it at its rules gets the same fields.
func FuzzLogfmtLineIsReadBackToItsFields(f *testing.F) {
	for _, seed := range [][4]string{
		{"it failed", "key", "plain", "a"},
		{"a\nlevel=error message=forged", "url", "/x?a=b&c=\"d\"", "two words"},
		{"", "", "", ""},
		{"\x1b[2J\u0085\u2028\xff\x00", "a b=c\nd", `\"\n`, "ü\r\n"},
		{"=", "=", "=", "="},
		{"`", "\"", "\\", "\t"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, message, key, value, logger string) {
		encoder := newLogfmt()
		encoder.AddString("with", value)
		entry := zapcore.Entry{Level: zapcore.InfoLevel, Time: time.Unix(1, 0).UTC(), LoggerName: logger, Message: message, Stack: value}
		made, err := encoder.EncodeEntry(entry, []zapcore.Field{
			zap.String(key, value), zap.NamedError("err", errors.New(value)), zap.ByteString("bytes", []byte(value)), zap.Strings("list", []string{value, key}), zap.Int("n", 7),
		})
		if err != nil {
			t.Fatal(err)
		}
		line := made.String()
		pairs, ok := readLogfmt(strings.TrimSuffix(line, "\n"))
		if !ok || strings.Count(line, "\n") != 1 || strings.ContainsFunc(line[:len(line)-1], func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("cannot be read back: %q", line)
		}
		want := [][2]string{{"time", "1970-01-01T00:00:01Z"}, {"level", "info"}}
		if logger != "" {
			want = append(want, [2]string{"logger", logger})
		}
		want = append(want, [2]string{"message", message}, [2]string{"with", value}, [2]string{keyOf(key), value}, [2]string{"err", value}, [2]string{"bytes", value})
		if len(pairs) < len(want) || pairs[len(pairs)-1] != [2]string{"stack", value} && value != "" {
			t.Fatalf("%q: read %q", line, pairs)
		}
		for i, pair := range want {
			if pairs[i] != pair {
				t.Errorf("%q: field %d is %q, want %q", line, i, pairs[i], pair)
			}
		}
	})
}

// readLogfmt reads a line of key=value by its rules: pairs are divided by one
// space, and a value that begins with a quote is a quoted text.
func readLogfmt(line string) (pairs [][2]string, ok bool) {
	for {
		key, rest, found := strings.Cut(line, "=")
		if !found || key == "" || !utf8.ValidString(key) || strings.ContainsAny(key, " \"\\") {
			return nil, false
		}
		value, after, more := strings.Cut(rest, " ")
		if strings.HasPrefix(rest, `"`) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, false
			}
			after, more = strings.CutPrefix(rest[len(quoted):], " ")
			if !more && after != "" {
				return nil, false
			}
			if value, err = strconv.Unquote(quoted); err != nil {
				return nil, false
			}
		}
		pairs = append(pairs, [2]string{key, value})
		if !more {
			return pairs, true
		}
		line = after
	}
}

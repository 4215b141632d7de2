package logging

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestLogfmtIsOneLineThatNobodyCanForge(t *testing.T) {
	encoder := newLogfmt()
	encoder.AddString("room", "tls")
	entry := zapcore.Entry{Level: zapcore.WarnLevel, Time: time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC), LoggerName: "a.b", Message: "it failed"}
	line, err := encoder.Clone().EncodeEntry(entry, []zapcore.Field{
		zap.String("evil", "a\nb=\"c\" \x1b[2J\u0085"), zap.Int("status", 502), zap.Duration("took_ms", 1500*time.Microsecond),
		zap.Error(errors.New("no such host")), zap.Strings("zones", []string{"a", "b"}), zap.Bool("ok", false), zap.String("empty", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `time=2026-11-23T01:02:03Z level=warn logger=a.b message="it failed" room=tls evil="a\nb=\"c\" \x1b[2J\u0085" status=502 took_ms=1.5 ` +
		`error="no such host" zones="[\"a\",\"b\"]" ok=false empty=""` + "\n"
	if got := line.String(); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

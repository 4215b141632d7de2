package secret_test

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"log"
	"log/slog"
	"strings"
	"testing"
	texttemplate "text/template"

	"github.com/goccy/go-yaml"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sallyport/sallyport/config/secret"
)

// canary is the secret that must not come out. It is not a multiple of three
// long, so that its base64 stands out too.
const canary = "cfut_canary-0123456789"

// leaks reports whether out holds the canary, as it is or in an encoding that
// gives it away. The length of a piece is enough to recognise it.
func leaks(out []byte) bool {
	piece := canary[5:16]
	for _, form := range []string{
		piece,
		hex.EncodeToString([]byte(piece)),
		strings.ToUpper(hex.EncodeToString([]byte(piece))),
		base64.StdEncoding.EncodeToString([]byte(canary))[:20],
		strings.Trim(fmt.Sprint([]byte(piece)), "[]"), // %d of bytes
		strings.Trim(fmt.Sprintf("%q", []rune(piece)), "[]"),
	} {
		if bytes.Contains(out, []byte(form)) {
			return true
		}
	}
	return false
}

type exported struct {
	Token secret.Text `json:"token" yaml:"token" xml:"token"`
	Ptr   *secret.Text
	List  []secret.Text
	Attr  secret.Text `xml:"attr,attr"`
}

type unexported struct {
	token secret.Text
	ptr   *secret.Text
	inner struct{ list []secret.Text }
}

type embedded struct{ secret.Text }

// holders returns the canary in everything that a value can stand in.
func holders() map[string]any {
	text := secret.New(canary)
	hidden := unexported{token: text, ptr: &text}
	hidden.inner.list = []secret.Text{text}
	return map[string]any{
		"value":              text,
		"pointer":            &text,
		"pointer to pointer": new(&text),
		"exported field":     exported{Token: text, Ptr: &text, List: []secret.Text{text}, Attr: text},
		"pointer to struct":  &exported{Token: text, Ptr: &text, List: []secret.Text{text}},
		"unexported field":   hidden,
		"pointer to hidden":  &hidden,
		"slice":              []secret.Text{text},
		"slice of pointers":  []*secret.Text{&text},
		"array":              [1]secret.Text{text},
		"interface":          []any{text, &text},
		"map value":          map[string]secret.Text{"a": text},
		"map key":            map[secret.Text]int{text: 1},
		"embedded":           embedded{text},
	}
}

func TestFmtPrintsNoSecretWithAnyVerb(t *testing.T) {
	flags := []string{"", "+", "#", "-", " ", "0", "+#", "30", ".3", "# "}
	for name, holder := range holders() {
		// %p and unknown verbs go past every method of Text.
		for verb := 'A'; verb <= 'z'; verb++ {
			for _, flag := range flags {
				format := "%" + flag + string(verb)
				if out := fmt.Sprintf(format, holder); leaks([]byte(out)) {
					t.Errorf("%s of %s prints %s", format, name, out)
				}
			}
		}
		if out := fmt.Sprint(holder) + fmt.Sprintln(holder) + string(fmt.Append(nil, holder)); leaks([]byte(out)) {
			t.Errorf("Print of %s prints %s", name, out)
		}
	}
}

func TestErrorsCarryNoSecret(t *testing.T) {
	for name, holder := range holders() {
		err := fmt.Errorf("login with %v (%+v, %#v, %s, %q): %w", holder, holder, holder, holder, holder, errors.ErrUnsupported)
		err = errors.Join(err, fmt.Errorf("again: %w", err))
		if leaks([]byte(err.Error())) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each encoder either prints no secret or refuses the value; what it refuses
// with prints none either.
func TestEncodersPrintNoSecret(t *testing.T) {
	encoders := map[string]func(any) ([]byte, error){
		"json":         json.Marshal,
		"json indent":  func(v any) ([]byte, error) { return json.MarshalIndent(v, "", " ") },
		"xml":          xml.Marshal,
		"yaml":         yaml.Marshal,
		"yaml flow":    func(v any) ([]byte, error) { return yaml.MarshalWithOptions(v, yaml.Flow(true), yaml.JSON()) },
		"gob":          gobMarshal,
		"text":         textMarshal,
		"binary":       binaryMarshal,
		"template":     textTemplate,
		"htmltemplate": htmlTemplate,
	}
	for encoderName, encode := range encoders {
		for name, holder := range holders() {
			out, err := encode(holder)
			if leaks(out) {
				t.Errorf("%s of %s prints %s", encoderName, name, out)
			}
			if err != nil && leaks([]byte(err.Error())) {
				t.Errorf("%s of %s fails with %v", encoderName, name, err)
			}
		}
	}
}

func gobMarshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func textMarshal(v any) ([]byte, error) {
	if m, ok := v.(encoding.TextMarshaler); ok {
		return m.MarshalText()
	}
	return nil, nil
}

func binaryMarshal(v any) ([]byte, error) {
	if m, ok := v.(encoding.BinaryMarshaler); ok {
		return m.MarshalBinary()
	}
	return nil, nil
}

func textTemplate(v any) ([]byte, error) {
	var b bytes.Buffer
	err := texttemplate.Must(texttemplate.New("").Parse(`{{.}} {{printf "%s %#v" . .}}`)).Execute(&b, v)
	return b.Bytes(), err
}

func htmlTemplate(v any) ([]byte, error) {
	var b bytes.Buffer
	err := template.Must(template.New("").Parse(`<a href="{{.}}" onclick="f({{.}})">{{.}}</a>`)).Execute(&b, v)
	return b.Bytes(), err
}

func TestLoggersPrintNoSecret(t *testing.T) {
	for name, holder := range holders() {
		var out bytes.Buffer
		logWithZap(&out, zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), holder)
		logWithZap(&out, zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), holder)
		for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			logger := slog.New(handler).With("with", holder)
			logger.Info("message", "value", holder, slog.Group("group", "value", holder))
			logger.Info(fmt.Sprint(holder), "error", fmt.Errorf("failed with %+v", holder))
		}
		std := log.New(&out, "", 0)
		std.Printf("%v %+v %#v", holder, holder, holder)
		std.Print(holder)
		if leaks(out.Bytes()) {
			t.Errorf("%s is logged:\n%s", name, out.String())
		}
		if !strings.Contains(out.String(), "message") {
			t.Fatalf("nothing was logged:\n%s", out.String())
		}
	}
}

// logWithZap logs a value through every kind of field that takes one.
func logWithZap(out *bytes.Buffer, encoder zapcore.Encoder, v any) {
	logger := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(out), zap.DebugLevel))
	fields := []zap.Field{
		zap.Any("any", v), zap.Reflect("reflect", v), zap.Error(fmt.Errorf("failed with %+v", v)),
		zap.NamedError("named", fmt.Errorf("failed with %#v", v)), zap.Any("list", []any{v}), zap.Any("map", map[string]any{"a": v}),
	}
	if s, ok := v.(fmt.Stringer); ok {
		fields = append(fields, zap.Stringer("stringer", s), zap.Stringers("stringers", []fmt.Stringer{s}))
	}
	if m, ok := v.(zapcore.ObjectMarshaler); ok {
		fields = append(fields, zap.Object("object", m), zap.Inline(m), zap.Objects("objects", []zapcore.ObjectMarshaler{m}))
	}
	logger.With(fields...).Info("message", fields...)
	sugar := logger.Sugar()
	sugar.Infow("message", "value", v)
	sugar.Infof("%v %+v %#v %s", v, v, v, v)
	sugar.Info(v)
}

func TestPrintedTextSaysThatItIsASecret(t *testing.T) {
	text := secret.New(canary)
	if got := fmt.Sprintf("%v %s %d %x %#v", text, &text, text, text, text); got != strings.TrimSpace(strings.Repeat("[secret] ", 5)) {
		t.Errorf("fmt: %s", got)
	}
	out, err := json.Marshal(exported{Token: text})
	if err != nil || !strings.Contains(string(out), `"token":"[secret]"`) {
		t.Errorf("json: %s %v", out, err)
	}
	out, err = yaml.Marshal(map[string]any{"token": text})
	if err != nil || !strings.Contains(string(out), "[secret]") {
		t.Errorf("yaml: %s %v", out, err)
	}
}

func TestReadingInto(t *testing.T) {
	// A Text is only made by New: decoders that know nothing of secrets refuse
	// or leave it alone, rather than fill it with "[secret]".
	var holder exported
	if err := json.Unmarshal([]byte(`{"token": "[secret]"}`), &holder); err == nil || !holder.Token.IsZero() {
		t.Errorf("json filled a Text with %q, error %v", holder.Token.Reveal(), err)
	}
}

func TestRevealEqualAndFingerprint(t *testing.T) {
	var zero secret.Text
	one, same, other := secret.New(canary), secret.New(canary), secret.New("another")
	if one.Reveal() != canary || zero.Reveal() != "" {
		t.Error("Reveal")
	}
	if !zero.IsZero() || !secret.New("").IsZero() || one.IsZero() {
		t.Error("IsZero")
	}
	if !one.Equal(same) || one.Equal(other) || one.Equal(zero) || !zero.Equal(secret.New("")) {
		t.Error("Equal")
	}
	if one.Fingerprint() != same.Fingerprint() || one.Fingerprint() == other.Fingerprint() || len(one.Fingerprint()) != 8 || zero.Fingerprint() != "" {
		t.Errorf("Fingerprint %q %q %q", one.Fingerprint(), other.Fingerprint(), zero.Fingerprint())
	}
	if strings.Contains(canary, one.Fingerprint()) {
		t.Error("the fingerprint is a piece of the secret")
	}
}

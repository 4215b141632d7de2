package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// redacted is what every encoder prints in place of the text.
const redacted = "[secret]"

// Text holds a secret such as an API token. Whatever prints, encodes or logs a
// Text gets "[secret]"; only Reveal gives the text back, so `grep Reveal`
// lists every place where a secret leaves its box.
//
// The zero Text is the empty secret: "no secret was given".
//
// The text sits behind a pointer on purpose: fmt, which walks unexported fields
// and, for a verb that it cannot use (%p), walks past every method below, prints
// an address and no characters. A printer that follows pointers into unexported
// fields would show the text; none is used.
//
// Compare with Equal: == compares addresses.
type Text struct{ text *string }

// New puts text into a Text.
func New(text string) Text { return Text{&text} }

// Reveal returns the secret itself. Hand it to the one call that needs it and
// keep no copy.
func (t Text) Reveal() string {
	if t.text == nil {
		return ""
	}
	return *t.text
}

// IsZero reports whether there is no secret.
func (t Text) IsZero() bool { return t.Reveal() == "" }

// Equal reports whether both hold the same secret, in time that does not
// depend on where they differ.
func (t Text) Equal(other Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(other.Reveal())) == 1
}

// Fingerprint returns the first eight hexadecimal digits of the secret's
// SHA-256: enough for a person to tell two tokens apart, useless for finding a
// token of 40 random characters. It is empty for the empty secret.
func (t Text) Fingerprint() string {
	if t.IsZero() {
		return ""
	}
	sum := sha256.Sum256([]byte(t.Reveal()))
	return hex.EncodeToString(sum[:4])
}

// The methods below are every door by which fmt, log, slog, zap, json, yaml
// and text encoders look into a value.

// String returns "[secret]".
func (t Text) String() string { return redacted }

// GoString returns "[secret]" for %#v.
func (t Text) GoString() string { return redacted }

// Format writes "[secret]" whatever the verb: %s, %v, %q, %x, %#v, %d.
func (t Text) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText writes "[secret]".
func (t Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON writes "[secret]".
func (t Text) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalYAML writes "[secret]".
func (t Text) MarshalYAML() (any, error) { return redacted, nil }

// MarshalBinary writes "[secret]", which is what encoding/gob asks for.
func (t Text) MarshalBinary() ([]byte, error) { return []byte(redacted), nil }

// LogValue gives slog "[secret]".
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalLogObject gives zap's object encoder "[secret]".
func (t Text) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("value", redacted)
	return nil
}

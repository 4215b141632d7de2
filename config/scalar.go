package config

import (
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/sallyport/sallyport/config/secret"
)

// fault says what is wrong with one value. The message continues the name of
// the key: "wants a size". Neither text holds the value, except that the hint
// may; the caller drops it when the value could be a secret.
type fault struct{ message, hint string }

// scalar decodes one word. A wrong one leaves the default, so that what is
// checked later does not fail for the same reason again.
func (d *decoder) scalar(n ast.Node, v reflect.Value, s slot) {
	d.fillField(v, s.field)
	text, ok := scalarText(n)
	if !ok {
		d.src.mark(s.path, s.at)
		if environmentMapping(n) {
			d.environment(spanOf(n.GetToken()), s)
			return
		}
		d.wrong(n, s, wants(v.Type(), s.field), "")
		return
	}
	s.at = spanOf(n.GetToken())
	d.src.mark(s.path, s.at)
	if s.field.off && isOff(n) {
		v.SetString(off)
		return
	}
	switch {
	case consultsEnvironment(text) && (!s.field.template || variableText.MatchString(text)):
		d.environment(s.at, s)
		return
	case strings.TrimSpace(text) == "":
		d.fail(s.at, s.path, named(s.path)+" is empty", "write a value, or remove the line")
		return
	case !s.field.lines && (strings.ContainsRune(text, '\n') || d.src.spansLines(n)):
		hint := "is the next line indented too deep?"
		if s.field.path {
			hint = "write the name of a file"
		}
		d.fail(s.at, s.path, named(s.path)+" must be on one line", hint)
		return
	case !fitsKind(n, v.Kind()):
		d.wrong(n, s, wants(v.Type(), s.field), kindHint(n, v.Kind(), s.field))
		return
	}
	if wrong := d.assign(v, text, s.field); wrong != nil {
		d.wrong(n, s, wrong.message, d.safeHint(n, text, wrong.hint))
	}
}

// fitsKind reports whether a YAML scalar may stand for a Go kind: texts are
// not numbers and truth values are not texts.
func fitsKind(n ast.Node, kind reflect.Kind) bool {
	quoted := n.GetToken().Type == token.DoubleQuoteType || n.GetToken().Type == token.SingleQuoteType
	_, truth := n.(*ast.BoolNode)
	switch kind {
	case reflect.Bool:
		return truth
	case reflect.String:
		return !truth
	case reflect.Int, reflect.Float64:
		return !quoted && !truth
	}
	return !truth
}

// kindHint says what to do about a scalar that does not fit.
func kindHint(n ast.Node, kind reflect.Kind, f field) string {
	_, truth := n.(*ast.BoolNode)
	switch {
	case len(f.enum) > 0:
		return ""
	case kind == reflect.String && truth:
		return "put the word in quotes if it is meant as text"
	case kind == reflect.Bool:
		return "write true or false, without quotes"
	}
	return "write it without quotes"
}

// secret decodes a secret. No message shows any part of it.
func (d *decoder) secret(n ast.Node, v reflect.Value, s slot) {
	d.src.mark(s.path, s.at)
	text, ok := scalarText(n)
	text = strings.TrimSpace(text)
	switch {
	case !ok && environmentMapping(n), consultsEnvironment(text):
		d.environment(s.at, s)
	case !ok:
		d.fail(s.at, s.path, named(s.path)+" wants text", "")
	case text == "":
		d.fail(s.at, s.path, named(s.path)+" is empty", "write a value, or remove the line")
	case strings.ContainsAny(text, " \t\n"):
		d.fail(s.at, s.path, named(s.path)+" has a blank or a line break in it", "is the next line indented too deep?")
	default:
		v.Set(reflect.ValueOf(secret.New(text)))
	}
}

// spansLines reports whether a scalar stands on more than one line.
func (s *source) spansLines(n ast.Node) bool {
	return strings.Contains(strings.TrimSpace(n.GetToken().Origin), "\n")
}

// assign reads the text of one scalar into v.
func (d *decoder) assign(v reflect.Value, text string, f field) *fault {
	switch v.Type() {
	case durationType:
		return assignDuration(v, text, f)
	case sizeType:
		return assignSize(v, text, f)
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(strings.EqualFold(text, "true"))
	case reflect.Int:
		return assignInt(v, text, f)
	case reflect.Float64:
		number, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
			return &fault{wants(v.Type(), f), "write it like 0.5"}
		}
		v.SetFloat(number)
	default:
		return d.assignString(v, text, f)
	}
	return nil
}

func (d *decoder) assignString(v reflect.Value, text string, f field) *fault {
	if len(f.enum) > 0 && !slices.Contains(f.enum, text) {
		hint := ""
		if near, ok := nearest(strings.ToLower(text), f.enum); ok {
			hint = "did you mean \"" + near + "\"?"
		}
		return &fault{wants(v.Type(), f), hint}
	}
	if f.path && !(f.stream && isStream(text)) {
		if strings.HasPrefix(text, "~") {
			return &fault{"wants a path without ~", "write the whole path: the environment (HOME) is never consulted"}
		}
		text = d.absolute(text)
	}
	v.SetString(text)
	return nil
}

// isStream reports whether a log's output is one of the two words that are no
// file names.
func isStream(output string) bool { return output == "stderr" || output == "stdout" }

// absolute returns a file name relative to the configuration file's directory.
func (d *decoder) absolute(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(d.dir, name)
}

func assignInt(v reflect.Value, text string, f field) *fault {
	number, err := strconv.ParseInt(text, 10, 32)
	if errors.Is(err, strconv.ErrRange) {
		return &fault{"is out of range", "write a smaller number"}
	}
	if err != nil {
		return &fault{wants(v.Type(), f), "write it in decimal digits"}
	}
	if least, err := strconv.ParseInt(f.min, 10, 32); err == nil && number < least {
		return &fault{"must be at least " + f.min, ""}
	}
	v.SetInt(number)
	return nil
}

func assignDuration(v reflect.Value, text string, f field) *fault {
	duration, err := time.ParseDuration(text)
	if err != nil {
		return &fault{wants(v.Type(), f), durationHint(text)}
	}
	if duration < 0 {
		return &fault{"must not be negative", ""}
	}
	if least, err := time.ParseDuration(f.min); err == nil && duration < least {
		hint := ""
		if duration == 0 {
			hint = "this limit cannot be switched off"
		}
		return &fault{"must be at least " + f.min, hint}
	}
	v.SetInt(int64(duration))
	return nil
}

// durationHint tells how a duration was probably meant.
func durationHint(text string) string {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return "add a unit: " + text + "s"
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 10_000 {
			return "write days as hours: " + strconv.Itoa(24*n) + "h"
		}
	}
	return "the units are ms, s, m and h: 500ms, 30s, 1m30s, 24h"
}

// sizeUnits are the units of a Size; a letter alone is nginx's.
var sizeUnits = [...]struct {
	name   string
	factor int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30},
}

// parseSize reads a Size. ok is false when the text is none.
func parseSize(text string) (size Size, ok bool) {
	factor := int64(1)
	for _, unit := range sizeUnits {
		if digits, found := strings.CutSuffix(text, unit.name); found {
			text, factor = digits, unit.factor
			break
		}
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number > math.MaxInt64/factor || number < math.MinInt64/factor {
		return 0, false
	}
	return Size(number * factor), true
}

func assignSize(v reflect.Value, text string, f field) *fault {
	size, ok := parseSize(text)
	if !ok {
		return &fault{wants(v.Type(), f), "write whole bytes, or a unit right after the number: 64KiB, 10MiB, 1GiB"}
	}
	if size < 0 {
		return &fault{"must not be negative", ""}
	}
	if least, ok := parseSize(f.min); ok && size < least {
		return &fault{"must be at least " + f.min, ""}
	}
	v.SetInt(int64(size))
	return nil
}

// wants says what a value of a type looks like.
func wants(t reflect.Type, f field) string {
	switch {
	case t == durationType:
		return "wants a duration such as 30s"
	case t == sizeType:
		return "wants a size such as 64KiB"
	case len(f.enum) > 0:
		return "wants " + orList(f.enum)
	}
	switch t.Kind() {
	case reflect.Bool:
		return "wants true or false"
	case reflect.Int:
		return "wants a whole number"
	case reflect.Float64:
		return "wants a number"
	case reflect.String:
		return "wants text"
	case reflect.Slice:
		return "wants a list"
	}
	return "wants keys and values"
}

// orList returns "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// environmentText finds what other programs take for a reference to the
// environment: ${X}, $X, {$X}, {env.X}, {{ … }}.
var environmentText = regexp.MustCompile(`\$\{|\$[A-Za-z_]|\{\$|\{\s*env[.:]|\{\{`)

// variableText is what environmentText finds and no text with placeholders needs.
var variableText = regexp.MustCompile(`\$\{|\{\$|\{\s*env[.:]`)

// consultsEnvironment reports whether a text hopes to be replaced by something
// from the environment.
func consultsEnvironment(text string) bool {
	return strings.ContainsAny(text, "${") && environmentText.MatchString(text)
}

// environmentMapping reports whether a node is {env.X} or {$X} without quotes,
// which YAML reads as a mapping.
func environmentMapping(n ast.Node) bool {
	list, ok := entries(n)
	if !ok || len(list) != 1 {
		return false
	}
	key, plain := keyText(list[0].Key)
	return plain && consultsEnvironment("{"+key)
}

// environment reports a reference to the environment, without its text.
func (d *decoder) environment(at span, s slot) {
	hint := "write the value itself"
	switch {
	case strings.HasSuffix(s.path, ".token"):
		hint = "put the token into a file and name it with token_file"
	case strings.HasSuffix(s.path, ".mac_key"):
		hint = "put the key into a file and name it with mac_key_file"
	}
	d.fail(at, s.path, named(s.path)+" refers to a variable; the environment is never consulted", hint)
}

package placeholder

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Template is a text with placeholders.
type Template struct {
	text  string // of a constant
	parts []part // nil: constant
}

// part is a literal text, or a placeholder: what it stands for and, of those
// with a name behind a dot, the name.
type part struct {
	literal string
	kind    kind
	name    string
	number  int
}

// Error is a text that is no template.
type Error struct {
	message, hint string
}

func (e *Error) Error() string { return e.message }

// Hint says what to write instead.
func (e *Error) Hint() string { return e.hint }

// Parse reads a text. The error is an [*Error].
func Parse(text string) (*Template, error) {
	var parts []part
	var literal strings.Builder
	for rest := text; ; {
		before, after, ok := strings.Cut(rest, "{")
		literal.WriteString(before)
		switch {
		case !ok:
			return assemble(parts, literal.String()), nil
		case strings.HasPrefix(after, "{"):
			literal.WriteByte('{')
			rest = after[1:]
			continue
		case after == "" || !letter(after[0]):
			literal.WriteByte('{')
			rest = after
			continue
		}
		word, behind, closed := strings.Cut(after, "}")
		if !closed || strings.ContainsAny(word, "{ \t\n\"") {
			return nil, &Error{"has a { without its }", "write {{ for a brace that is meant"}
		}
		one, err := placeholderOf(word)
		if err != nil {
			return nil, err
		}
		if literal.Len() > 0 {
			parts = append(parts, part{literal: literal.String()})
			literal.Reset()
		}
		parts = append(parts, one)
		rest = behind
	}
}

func assemble(parts []part, tail string) *Template {
	if parts == nil {
		return &Template{text: tail}
	}
	if tail != "" {
		parts = append(parts, part{literal: tail})
	}
	return &Template{parts: parts}
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// placeholderOf reads what stands between braces.
func placeholderOf(word string) (part, error) {
	prefix, name, dotted := strings.Cut(word, ".")
	for k := kindHost; k < kinds; k++ {
		switch info := k.info(); {
		case !info.named && info.word == word:
			return part{kind: k}, nil
		case info.named && dotted && info.word == prefix && name != "":
			one := part{kind: k, name: name}
			if k == kindHeader {
				one.name = http.CanonicalHeaderKey(name)
			}
			if k == kindCapture {
				n, err := strconv.Atoi(name)
				if err != nil || n < 0 || n > 99 {
					return part{}, &Error{"has {" + word + "}: a group has a number", "write {capture.1}"}
				}
				one.number = n
			}
			return one, nil
		}
	}
	return part{}, unknown(word)
}

// unknown is the error for a word that is no placeholder.
func unknown(word string) error {
	var known []string
	for k := kindHost; k < kinds; k++ {
		known = append(known, k.info().shown())
	}
	e := &Error{message: fmt.Sprintf("has the unknown placeholder {%s}", word), hint: "write {{ for a brace that is meant; the placeholders are " + strings.Join(known, " ")}
	if meant, ok := habit(word); ok {
		e.hint = "did you mean " + meant + "?"
		return e
	}
	prefix, name, dotted := strings.Cut(word, ".")
	best, least := "", 3
	for k := kindHost; k < kinds; k++ {
		info := k.info()
		if info.named != dotted && strings.Contains(info.word, ".") != dotted {
			continue
		}
		compared := word
		if info.named {
			compared = prefix
		}
		if d := distance(strings.ToLower(compared), info.word); d < least {
			best, least = "{"+info.word+"}", d
			if info.named {
				best = "{" + info.word + "." + name + "}"
			}
		}
	}
	if best != "" {
		e.hint = "did you mean " + best + "?"
	}
	return e
}

// habit knows what people bring along from other programs.
func habit(word string) (string, bool) {
	switch prefix, rest, _ := strings.Cut(word, "."); {
	case prefix == "env":
		return "the value itself? The environment is never consulted. {{ is a brace", true
	case word == "remote" || word == "remote_host" || word == "remote_ip" || word == "ip" || word == "remote_addr":
		return "{client_ip}", true
	case word == "request_uri":
		return "{uri}", true
	case word == "id" || word == "uuid":
		return "{request_id}", true
	case prefix == "http" && strings.HasPrefix(rest, "request.header."):
		return "{header." + strings.TrimPrefix(rest, "request.header.") + "}", true
	case prefix == "re":
		return "{capture." + rest[strings.LastIndexByte(rest, '.')+1:] + "}", true
	}
	return "", false
}

// distance is how many letters two words differ by (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitution := diagonal
			if a[i] != b[j] {
				substitution++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitution, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Constant returns the text of a template without placeholders.
func (t *Template) Constant() (text string, ok bool) { return t.text, t.parts == nil }

// Outline returns the text with what stand puts in the place of each
// placeholder, given by its word without what follows the dot. It is for
// looking at what an expansion can be like.
func (t *Template) Outline(stand func(word string) string) string {
	if t.parts == nil {
		return t.text
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.kind == kindLiteral {
			b.WriteString(p.literal)
		} else {
			b.WriteString(stand(p.kind.info().word))
		}
	}
	return b.String()
}

// Uses reports whether a template has any of the placeholders, by their word
// without what follows the dot: "status", "capture".
func (t *Template) Uses(words ...string) bool {
	return slices.ContainsFunc(t.parts, func(p part) bool {
		return p.kind != kindLiteral && slices.Contains(words, p.kind.info().word)
	})
}

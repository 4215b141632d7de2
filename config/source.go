package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// notShown stands in a message for a value that may be a secret.
const notShown = "(not shown)"

// source is the text of a configuration file: what problems point at.
type source struct {
	file   string
	lines  []string        // without line ends; lines[0] is line 1
	hidden map[int]bool    // numbers of the lines that may hold a secret
	spans  map[string]span // where the value of each path is; "" is the whole file

	// written maps "sites[NAME]" with NAME in ASCII to the same with NAME as
	// it stands in the file, which is what spans uses.
	written map[string]string

	judged map[judgedKey]bool // what soundsSecret said; until forget
}

// judgedKey is a question to soundsSecret.
type judgedKey struct {
	kind    string
	bareKey bool
}

// span is a run of characters on one line.
type span struct{ line, column, width int }

// newSource returns the source for text, in which every line ends with \n.
func newSource(file, text string) *source {
	lines := strings.Split(text, "\n")
	return &source{
		file:    file,
		lines:   lines,
		hidden:  make(map[int]bool),
		judged:  make(map[judgedKey]bool),
		spans:   make(map[string]span, 2*len(lines)),
		written: make(map[string]string),
	}
}

// problem returns a problem that points at a span.
func (s *source) problem(at span, path, message, hint string) Problem {
	return Problem{
		Position: Position{File: s.file, Line: at.line, Column: at.column},
		Path:     path,
		Message:  message,
		Hint:     hint,
		Excerpt:  s.excerpt(at),
	}
}

// hide marks lines, first to last, as holding a secret.
func (s *source) hide(first, last int) {
	for line := first; line <= last; line++ {
		s.hidden[line] = true
	}
}

// forget drops the text of the hidden lines: nothing will print them, so there
// is no reason to keep their secrets in memory.
func (s *source) forget() {
	for line := range s.hidden {
		if line >= 1 && line <= len(s.lines) {
			s.lines[line-1] = ""
		}
	}
	clear(s.judged) // what looks like a key may be a piece of a secret
}

// hides reports whether a line of the span may hold a secret.
func (s *source) hides(at span) bool { return s.hidden[at.line] }

// mark remembers where the value of a path is. The first place stays.
func (s *source) mark(path string, at span) {
	if _, ok := s.spans[path]; !ok {
		s.spans[path] = at
	}
}

// asWritten returns a path with the name in it as it stands in the file.
func (s *source) asWritten(path string) string {
	end := strings.IndexByte(path, ']') + 1
	if end == 0 {
		return path
	}
	written, ok := s.written[path[:end]]
	if !ok || written == path[:end] {
		return path
	}
	return written + path[end:]
}

// find returns the place of a path, or that of its nearest parent in the file.
func (s *source) find(path string) span {
	path = s.asWritten(path)
	for {
		if at, ok := s.spans[path]; ok {
			return at
		}
		if path == "" {
			return span{}
		}
		path = parentOf(path)
	}
}

// has reports whether a path is written in the file.
func (s *source) has(path string) bool {
	_, ok := s.spans[path]
	return ok
}

// parentOf cuts the last step off a path. Dots inside brackets belong to a
// name.
func parentOf(path string) string {
	if strings.HasSuffix(path, "]") {
		return path[:max(0, strings.LastIndexByte(path, '['))]
	}
	return path[:max(0, strings.LastIndexByte(path, '.'))]
}

// quote returns a value of a path in quotes, to put it in a message, or
// "(not shown)" when it may be a secret.
func (s *source) quote(path, value string) string {
	if !s.shows(path, value) {
		return notShown
	}
	return strconv.Quote(value)
}

// shows reports whether a value of a path may be printed.
func (s *source) shows(path, value string) bool {
	return !s.hides(s.find(path)) && printable(value)
}

// printable reports whether a text is short and plain enough to stand in a
// message and does not look like a token.
func printable(text string) bool {
	return printableBy(text, func(key string) bool { return soundsSecret(key, false) })
}

// printable is the function of that name, which asks about each kind of key
// once.
func (s *source) printable(text string) bool {
	return printableBy(text, func(key string) bool { return s.soundsSecret(key, false) })
}

func printableBy(text string, sounds func(key string) bool) bool {
	return len(text) <= 200 && !strings.ContainsAny(text, "\r\n") && !holdsSecret(text, sounds)
}

// excerptWidth is the number of characters of a long line that an excerpt
// shows.
const excerptWidth = 100

// excerpt returns the line of a span with carets under the span.
func (s *source) excerpt(at span) string {
	if at.line < 1 || at.line > len(s.lines) || at.column < 1 || s.hides(at) {
		return ""
	}
	line := []rune(s.lines[at.line-1])
	start := min(at.column-1, len(line))
	width := max(1, min(at.width, len(line)-start))
	line, start, width = window(line, start, width)

	var shown, carets strings.Builder
	for i, r := range line {
		text, cells := cell(r)
		shown.WriteString(text)
		mark := " "
		if i >= start && i < start+width {
			mark = "^"
		}
		carets.WriteString(strings.Repeat(mark, cells))
	}
	if start >= len(line) {
		carets.WriteByte('^')
	}
	number := strconv.Itoa(at.line)
	return fmt.Sprintf("    %s | %s\n    %s | %s", number, strings.TrimRight(shown.String(), " "),
		strings.Repeat(" ", len(number)), strings.TrimRight(carets.String(), " "))
}

// window cuts a long line to what is around the span.
func window(line []rune, start, width int) (cut []rune, newStart, newWidth int) {
	if len(line) <= excerptWidth {
		return line, start, width
	}
	from := max(0, min(start-excerptWidth/4, len(line)-excerptWidth))
	to := min(len(line), from+excerptWidth)
	width = max(1, min(width, to-start))
	cut = append([]rune(nil), line[from:to]...)
	if from > 0 {
		cut[0] = '…'
	}
	if to < len(line) {
		cut[len(cut)-1] = '…'
	}
	return cut, start - from, width
}

// cell returns what to print for a character and how many terminal cells it
// takes, so that carets stand below what they mean. Control characters, which
// could command the terminal, are replaced.
func cell(r rune) (text string, cells int) {
	switch {
	case r == '\t':
		return " ", 1
	case r == utf8.RuneError || !unicode.IsPrint(r):
		return "\uFFFD", 1
	case unicode.Is(unicode.Mn, r):
		return string(r), 0
	case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana):
		return string(r), 2
	default:
		return string(r), 1
	}
}

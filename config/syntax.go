package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// What a file may cost. The parser's time grows with the square of the number
// of keys, and its stack with the depth.
const (
	maxBytes = 1 << 20
	maxKeys  = 20_000
	maxDepth = 64
)

// star stands in the parsed text for an unquoted * that begins a name, which
// YAML would take for an alias. It is a private-use character: one column wide
// like the star, and refused in files.
const star = '\uE000'

// smallest is the hint for who does not know where to begin.
const smallest = "the smallest configuration is\nsites:\n  app.localhost: http://127.0.0.1:3000"

// document is the outcome of parsing: the text, its root node (nil when there
// is none) and what was wrong so far.
type document struct {
	src      *source
	root     ast.Node
	problems Problems
}

// parseDocument turns the bytes of a file into a syntax tree. Everything that
// is wrong with the file as YAML is in the problems, and then the root may be
// nil. It never panics.
func parseDocument(name string, content []byte) (doc document) {
	text, at, wrong := cleanText(content)
	doc.src = newSource(name, text)
	if wrong != nil {
		doc.fail(at, wrong.message, wrong.hint)
		return doc
	}
	doc.src.hideByText(true) // until it is known to be valid YAML
	defer func() {
		// The parser has crashed on odd input before. The panic value is left
		// out: it may quote the file.
		if recover() != nil {
			doc.root = nil
			doc.fail(span{}, "this is not YAML that can be understood", "simplify the file; `sallyport schema` describes it")
		}
	}()
	if at, r, bad := firstBadRune(text); bad {
		doc.fail(at, fmt.Sprintf("the character %U is not allowed", r), "remove it; it is invisible in most editors")
		return doc
	}
	tokens := lexer.Tokenize(doc.protectStars(text))
	if !doc.bounded(tokens) {
		return doc
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		doc.syntaxError(err)
		return doc
	}
	doc.takeRoot(file)
	return doc
}

func (doc *document) fail(at span, message, hint string) {
	doc.problems = append(doc.problems, doc.src.problem(at, "", message, hint))
}

// cleanText returns the content without a byte order mark and with \n line
// ends, or what is wrong with it and where.
func cleanText(content []byte) (text string, at span, wrong *fault) {
	switch {
	case len(content) > maxBytes:
		return "", at, &fault{"the file is larger than 1 MiB", "a configuration is a few kilobytes; is this the right file?"}
	case bytes.HasPrefix(content, []byte("\xff\xfe")), bytes.HasPrefix(content, []byte("\xfe\xff")):
		return "", at, &fault{"the file is encoded in UTF-16", "save it as UTF-8"}
	case !utf8.Valid(content):
		line := 1 + bytes.Count(content[:validPrefix(content)], []byte("\n"))
		return "", span{line: line}, &fault{"this line is not UTF-8", "save the file as UTF-8"}
	}
	text = strings.TrimPrefix(string(content), "\uFEFF")
	return strings.ReplaceAll(text, "\r\n", "\n"), at, nil
}

// validPrefix returns the length of the part of content that is valid UTF-8.
func validPrefix(content []byte) int {
	n := 0
	for n < len(content) {
		r, size := utf8.DecodeRune(content[n:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	return n
}

// firstBadRune finds a character that has no business in a text file.
func firstBadRune(text string) (at span, r rune, found bool) {
	line, column := 1, 0
	for _, r := range text {
		column++
		switch {
		case r == '\n':
			line, column = line+1, 0
		case r == '\t', ' ' <= r && r <= '~':
		case unicode.IsControl(r), unicode.In(r, unicode.Co, unicode.Zl, unicode.Zp), r == '\uFEFF', r == '\u200B':
			return span{line, column, 1}, r, true
		}
	}
	return span{}, 0, false
}

// protectStars reports every name that begins with an unquoted *, and returns
// the text with the star replaced so that the rest of the file can be checked
// in the same run.
func (doc *document) protectStars(text string) string {
	if !strings.Contains(text, "*.") {
		return text
	}
	lines := strings.Split(text, "\n")
	for _, tk := range lexer.Tokenize(text) {
		at := spanOf(tk)
		if tk.Type != token.AliasType || tk.Next == nil || at.line > len(lines) {
			continue
		}
		line := []rune(lines[at.line-1])
		if at.column >= len(line) || line[at.column-1] != '*' || line[at.column] != '.' {
			continue
		}
		name := string(line[at.column-1:])
		if end := strings.IndexAny(name, ":,]} \t"); end >= 0 {
			name = name[:end]
		}
		line[at.column-1] = star
		lines[at.line-1] = string(line)

		at.width = len([]rune(name))
		shown := notShown
		hint := "put the name in quotes; without them * means an alias in YAML"
		if !doc.src.hides(at) && printable(name) {
			shown, hint = name, fmt.Sprintf("put the name in quotes: %q; without them * means an alias in YAML", name)
		}
		doc.fail(at, "the wildcard "+shown+" is not in quotes", hint)
	}
	return strings.Join(lines, "\n")
}

// bounded reports whether the parser can be let loose on the tokens.
func (doc *document) bounded(tokens token.Tokens) bool {
	keys, flow, run := 0, 0, 0
	indents := []int{0}
	previous := 0
	for _, tk := range tokens {
		line, column := startOf(tk)
		switch tk.Type {
		case token.MappingValueType:
			keys++
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		}
		if tk.Type == token.SequenceEntryType || tk.Type == token.MappingKeyType {
			run++
		} else {
			run = 0
		}
		if line != previous {
			for len(indents) > 1 && indents[len(indents)-1] >= column {
				indents = indents[:len(indents)-1]
			}
			indents = append(indents, column)
		}
		previous = line
		if flow+run+len(indents) > maxDepth {
			doc.fail(spanOf(tk), "the nesting is too deep", "nothing in the language is nested more than a few levels")
			return false
		}
		if keys > maxKeys {
			doc.fail(spanOf(tk), fmt.Sprintf("the file has more than %d keys", maxKeys), "split it between several proxies")
			return false
		}
	}
	return true
}

// takeRoot checks that there is exactly one document and hides what its tree
// tells to be secret.
func (doc *document) takeRoot(file *ast.File) {
	var roots []ast.Node
	for _, d := range file.Docs {
		switch body := d.Body.(type) {
		case nil, *ast.NullNode:
		case *ast.DirectiveNode:
			doc.fail(spanOf(body.GetToken()), "YAML directives are not supported", "remove the line that begins with %")
		default:
			roots = append(roots, body)
		}
	}
	// Valid YAML: now the tree tells whose `key:` it is.
	clear(doc.src.hidden)
	doc.src.hideByText(false)
	for _, root := range roots {
		doc.src.hideByTree(root, "", len(doc.src.lines))
	}
	doc.src.forget()
	switch {
	case len(roots) == 0:
		if len(doc.problems) == 0 {
			doc.fail(span{}, "the file is empty", smallest)
		}
	case len(roots) > 1:
		second := spanOf(firstToken(roots[1]))
		doc.fail(second, "the file holds more than one YAML document", "keep one; remove the line \"---\" between them")
	default:
		doc.root = roots[0]
	}
}

// syntaxError reports what the parser found, in our words: its own may quote
// the file.
func (doc *document) syntaxError(err error) {
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) || syntax.Token == nil {
		doc.fail(span{}, "this is not valid YAML", "")
		return
	}
	at := spanOf(syntax.Token)
	if line, column, ok := doc.tabNear(at.line); ok {
		doc.fail(span{line, column, 1}, "a tab cannot indent YAML", "use spaces")
		return
	}
	message, hint := explainSyntax(syntax.Message)
	if syntax.Token.Type == token.CollectEntryType {
		message, hint = "a comma has nothing before it", "remove it"
	}
	doc.fail(at, message, hint)
}

// tabNear looks for a tab in the indentation of a line or the next.
func (doc *document) tabNear(line int) (atLine, column int, found bool) {
	for n := line; n <= min(line+1, len(doc.src.lines)); n++ {
		text := doc.src.lines[n-1]
		indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
		if tab := strings.IndexByte(indent, '\t'); tab >= 0 && len(indent) < len(text) {
			return n, tab + 1, true
		}
	}
	return 0, 0, false
}

// explainSyntax says what a message of the parser means to a person.
func explainSyntax(message string) (ours, hint string) {
	for _, known := range [...]struct{ part, ours, hint string }{
		{"end character of double-quoted", "a \" is never closed", "add the missing \""},
		{"end character of single-quoted", "a ' is never closed", "add the missing '"},
		{"'}' must be specified", "a , or } is missing", "entries in { } are separated by commas"},
		{"end token '}'", "a { is never closed", "add the missing }"},
		{"corresponding to '}'", "a } has no {", ""},
		{"']' must be specified", "a , or ] is missing", "entries in [ ] are separated by commas, and the list ends with ]"},
		{"end token ']'", "a [ is never closed", "add the missing ]"},
		{"corresponding to ']'", "a ] has no [", ""},
		{"is a reserved character", "a value cannot begin with this character", "put the value in quotes"},
		{"escape", "this is not an escape that YAML knows", "write \\\\ for a backslash, or use single quotes"},
		{"mapping value is not allowed", "a second colon on this line makes no sense", "is the line indented wrongly? a value with \": \" in it needs quotes"},
		{"map key-value is pre-defined", "this follows a value that is already complete", "check the quotes, the brackets and the indentation"},
		{"non-map value", "this line is not \"key: value\"", "is the colon, or the blank after it, missing?"},
		{"unexpected key name", "this line is not \"key: value\"", "is the colon, or the blank after it, missing?"},
		{"sequence entries are not allowed", "a list cannot begin here", "put each \"- \" on a line of its own, below the key"},
		{"alias", "YAML aliases (*name) are not supported", "a value that begins with * needs quotes"},
		{"anchor", "YAML anchors (&name) are not supported", "a value that begins with & needs quotes"},
		{"directive", "YAML directives are not supported", "a value that begins with % needs quotes"},
		{"tag", "YAML tags (!name) are not supported", "a value that begins with ! needs quotes"},
		{"not allowed in this context", "this does not belong here", "is the indentation right? keys of one mapping begin in the same column"},
		{"flow map content", "this is not \"key: value\"", "entries in { } are \"key: value\", separated by commas"},
		{"document separator", "this does not belong on a line with \"---\"", ""},
		{"end content", "there is text after the end of the document (\"...\")", "remove it"},
	} {
		if strings.Contains(message, known.part) {
			return known.ours, known.hint
		}
	}
	return "this is not valid YAML", "check the indentation, quotes and colons of this line and the one before"
}

// spanOf returns the place of a token's first line.
func spanOf(tk *token.Token) span {
	line, column := startOf(tk)
	if line == 0 {
		return span{}
	}
	first, _, _ := strings.Cut(strings.TrimLeft(tk.Origin, " \t\n"), "\n")
	return span{line, column, max(1, utf8.RuneCountInString(strings.TrimRight(first, " \t")))}
}

// startOf returns where a token begins; 0, 0 if nobody knows.
func startOf(tk *token.Token) (line, column int) {
	if tk == nil || tk.Position == nil {
		return 0, 0
	}
	return max(1, tk.Position.Line), max(1, tk.Position.Column)
}

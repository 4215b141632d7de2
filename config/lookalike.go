package config

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What the look of a line is judged by, without regular expressions: every line
// of a file, and every word of it, is asked several times, and that was a third
// of what loading a large file took. TestLooksAreThoseOfTheExpressions holds each
// against the expression that says the same.

// wordsBeforeColon finds what could be keys (`token:`, `"token" :`, `token=`),
// each with the byte offset of the end of its colon:
//
//	([\pL\pN_.\-]+)["']?\s*[:=]
func wordsBeforeColon(line string) iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for colon := range len(line) {
			if line[colon] != ':' && line[colon] != '=' {
				continue
			}
			word := lastWord(strings.TrimRight(line[:colon], blanks))
			if word != "" && !yield(word, colon+1) {
				return
			}
		}
	}
}

// blanks are what \s of an expression means.
const blanks = " \t\n\f\r"

// lastWord returns the word that a text ends with, without a quote behind it; ""
// if it ends with something else.
func lastWord(text string) string {
	if n := len(text); n > 0 && (text[n-1] == '"' || text[n-1] == '\'') {
		text = text[:n-1]
	}
	return text[len(strings.TrimRightFunc(text, inWord)):]
}

func inWord(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_', r == '.', r == '-':
		return true
	case r < utf8.RuneSelf:
		return false
	}
	return unicode.IsLetter(r) || unicode.IsNumber(r)
}

// hasEscape finds double-quoted escapes, by which a key can be spelt unreadably:
//
//	\\[xuU]
func hasEscape(line string) bool {
	for rest := line; ; {
		_, after, found := strings.Cut(rest, `\`)
		if !found {
			return false
		}
		if after != "" && (after[0] == 'x' || after[0] == 'u' || after[0] == 'U') {
			return true
		}
		rest = after
	}
}

// mayHaveTokenPrefix reports whether tokenPrefix could match: it is told by a
// character that each of its branches has, and by any that is not ASCII, because
// some of these fold to letters.
func mayHaveTokenPrefix(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= utf8.RuneSelf, c == '@':
			return true
		case i == 0:
		case c == '_': // at the end of a prefix of Cloudflare's
			if before := text[i-1] | 0x20; before == 't' || before == 'k' {
				return true
			}
		case strings.IndexByte(blanks, c) >= 0: // behind "bearer", within "PRIVATE KEY"
			if before := text[i-1] | 0x20; before == 'r' || before == 'e' {
				return true
			}
		}
	}
	return false
}

// tokenRunLength is how long a run of characters without a dot or slash is that
// could be a token.
const tokenRunLength = 30

// hasTokenRun finds a long run with a digit or a capital letter in it:
//
//	[A-Za-z0-9_+=\-]{30,}
func hasTokenRun(text string) bool {
	length, mixed := 0, false
	for i := range len(text) {
		switch c := text[i]; {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z':
			length, mixed = length+1, true
		case 'a' <= c && c <= 'z', c == '_', c == '+', c == '=', c == '-':
			length++
		default:
			length, mixed = 0, false
		}
		if mixed && length >= tokenRunLength {
			return true
		}
	}
	return false
}

package config

import (
	"regexp"
	"strings"
)

// This file decides which lines of a file may hold a secret. Such a line is
// never printed. It errs on the side of hiding: a hidden line costs a caret, a
// shown one costs a token.

// plainKeys are the keys of the language that sound secret but hold a file
// name or a plain word. (`key` alone is judged by what is around it.)
var plainKeys = [...]string{"token_file", "mac_key_file", "key_id", "key_type", "key_file", "pass_authorization", "remove_token"}

// secretWords are the words that make a key sound secret.
var secretWords = [...]string{
	"token", "secret", "passw", "passphrase", "password", "pwd", "bearer",
	"authorization", "apikey", "hmac",
}

// tokenPrefix is what gives a token away: Cloudflare's prefixes, other marks,
// and passwords in addresses.
var tokenPrefix = regexp.MustCompile(`(?i)cf(ut|at|k)_|bearer\s|PRIVATE KEY|://[^/\s]*@`)

// looksLikeToken reports whether a text holds something like a token. Long
// words without a digit, and names, are not tokens.
func looksLikeToken(text string) bool {
	return mayHaveTokenPrefix(text) && tokenPrefix.MatchString(text) || hasTokenRun(text)
}

// soundsSecret reports whether a key is likely to hold a secret: it has a word
// such as "token", or is a slip of the finger away from one. bareKey says
// whether the word `key` alone counts.
func soundsSecret(key string, bareKey bool) bool {
	key = strings.ReplaceAll(strings.ToLower(lastLabel(key)), "-", "_")
	if key == "key" {
		return bareKey
	}
	for _, plain := range plainKeys {
		if near(key, plain, 1) { // a slip away is still a file name
			return false
		}
	}
	for _, word := range secretWords {
		if strings.Contains(key, word) {
			return true
		}
	}
	for part := range strings.SplitSeq(key, "_") {
		if strings.HasSuffix(part, "key") || part == "mac" {
			return true
		}
		for _, word := range secretWords {
			if len(part) > 3 && near(part, word, len(word)/5) {
				return true
			}
		}
	}
	return false
}

// lastLabel returns the part of a key that says what kind it is: in
// auth.example.com only "com".
func lastLabel(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// soundsSecret is the function of that name, asked once for each kind of key: a
// large file has few of them, many times.
func (s *source) soundsSecret(key string, bareKey bool) bool {
	question := judgedKey{lastLabel(key), bareKey}
	verdict, asked := s.judged[question]
	if !asked {
		verdict = soundsSecret(key, bareKey)
		s.judged[question] = verdict
	}
	return verdict
}

// holdsSecret reports whether a line has a key that sounds secret or a text
// that looks like a token.
func holdsSecret(line string, sounds func(key string) bool) bool {
	_, found := secretKey(line, sounds)
	return found || looksLikeToken(line) || hasEscape(line)
}

// secretKey returns the byte offset of the end of the first secret key's colon.
func secretKey(line string, sounds func(key string) bool) (end int, found bool) {
	for word, end := range wordsBeforeColon(line) {
		if sounds(word) {
			return end, true
		}
	}
	return 0, false
}

// hideByText hides lines by their look alone, before and whether or not the
// file is valid YAML. With bareKey, `key:` is secret too: in a file that cannot
// be parsed nobody knows whose key it is.
func (s *source) hideByText(bareKey bool) {
	sounds := func(key string) bool { return s.soundsSecret(key, bareKey) }
	for i, line := range s.lines {
		end, found := secretKey(line, sounds)
		if !found && !looksLikeToken(line) && !hasEscape(line) {
			continue
		}
		last := i
		if found {
			last = s.endOfSecret(i, end)
		}
		s.hide(i+1, last+1)
	}
}

// endOfSecret returns the index of the last line that can belong to the value
// which begins on line i after the byte offset end. A value goes on while lines
// are empty, indented deeper than the key, or not clearly a key of their own.
func (s *source) endOfSecret(i, end int) int {
	value := strings.TrimSpace(s.lines[i][end:])
	if opened, closer := openQuote(value); opened {
		for j := i + 1; j < len(s.lines); j++ {
			if strings.Contains(s.lines[j], closer) {
				return j
			}
		}
		return len(s.lines) - 1 // never closed: everything may be the secret
	}
	indent, last := keyIndent(s.lines[i]), i
	for j := i + 1; j < len(s.lines); j++ {
		if strings.TrimSpace(s.lines[j]) == "" {
			continue
		}
		begun := value != "" || last > i // the first line after `token:` belongs to it
		if begun && startsAfresh(s.lines[j], indent) {
			break
		}
		last = j
	}
	return last
}

// openQuote reports whether a value starts a quoted text that does not end on
// its line.
func openQuote(value string) (opened bool, closer string) {
	for _, quote := range []string{`"`, `'`} {
		if strings.Count(value, quote)%2 == 1 {
			return true, quote
		}
	}
	return false, ""
}

// freshLine matches a line that clearly begins something new: a comment, a list
// item that is a mapping, or a key.
var freshLine = regexp.MustCompile(`^\s*(#|(-\s+)*["']?[A-Za-z_*][A-Za-z0-9_.*\-]*["']?\s*:(\s|$))`)

// startsAfresh reports whether a line cannot be part of a value whose key
// stands at the given indent.
func startsAfresh(line string, indent int) bool {
	return keyIndent(line) <= indent && freshLine.MatchString(line)
}

// keyIndent returns the number of characters before a line's first key, dashes
// of list items included.
func keyIndent(line string) int {
	return len(line) - len(strings.TrimLeft(line, " \t-"))
}

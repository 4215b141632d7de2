package cloudflare

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/sallyport/sallyport/config/secret"
)

// tokenPage is where Cloudflare's dashboard makes API tokens.
const tokenPage = "https://dash.cloudflare.com/profile/api-tokens"

// maxTokenBytes bounds what is read from a token file. A token is some fifty
// characters and a certbot file with all its comments stays under 1 KiB. Whatever
// is larger than a page is some other file, and must not be read into memory
// to find that out.
const maxTokenBytes = 4 << 10

// The cures that several refusals share.
const (
	hintOnlyToken = "put only the API token in it, on one line"
	hintNewToken  = "make an API token with Zone:Read and DNS:Edit on just these zones at " + tokenPage + " and use it instead"
)

// TokenError says why there is no usable API token. It never holds the token or
// a piece of what was read: Reason and Hint are made of constant words, the
// file's name and numbers.
type TokenError struct {
	Source string // where the token was looked for: "token_file /run/secrets/cf"; empty from ParseToken
	Reason string // what is wrong with it: "is empty", "holds several lines"
	Hint   string // what to do about it
	Err    error  // the error of the file system behind it; may be nil
}

// Error returns the source, or "token" if that is not known, and the reason.
func (e *TokenError) Error() string {
	if e.Source == "" {
		return "token " + e.Reason
	}
	return e.Source + ": " + e.Reason
}

// Unwrap returns the error of the file system, so that
// errors.Is(err, fs.ErrNotExist) works.
func (e *TokenError) Unwrap() error { return e.Err }

// ParseToken finds the API token in the content of a token file: either the
// bare token or certbot's cloudflare.ini with dns_cloudflare_api_token. A byte
// order mark, CRLF line ends and blanks around the token do not matter.
//
// What cannot be an API token is refused with a *TokenError, but never because
// of its length: Cloudflare has changed that before (FACTS.md). The zero Text comes
// with every error.
func ParseToken(content []byte) (secret.Text, error) {
	text, err := plainText(content)
	if err != nil {
		return secret.Text{}, err
	}
	if strings.TrimSpace(text) == "" {
		return secret.Text{}, refuse("is empty", "put the API token in it; tokens are made at "+tokenPage)
	}
	var token string
	var bad *TokenError
	if isCertbot(text) {
		token, bad = certbotToken(text)
	} else {
		token, bad = bareToken(text)
	}
	if bad == nil {
		bad = checkToken(token)
	}
	if bad != nil {
		return secret.Text{}, bad
	}
	return secret.New(token), nil
}

// refuse makes a TokenError out of constant words.
func refuse(reason, hint string) *TokenError {
	return &TokenError{Reason: reason, Hint: hint}
}

// plainText checks that content is text that an editor would have written and
// returns it without byte order mark and with \n as its only line end.
func plainText(content []byte) (string, error) {
	if len(content) > maxTokenBytes {
		return "", errTooLarge()
	}
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) {
		return "", refuse("is UTF-16 text", "save the file as UTF-8 or ASCII (in PowerShell: Set-Content -Encoding ascii)")
	}
	text := string(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")))
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	if !utf8.ValidString(text) {
		return "", refuse("is not text", "point it at the file that holds the API token")
	}
	for _, r := range text {
		if r != '\n' && r != '\t' && (r < ' ' || r == 0x7f) {
			return "", refuse("holds a control character", "type or paste the token again, with no special keys")
		}
	}
	return text, nil
}

func errTooLarge() *TokenError {
	return refuse("is larger than 4 KiB, so it is not a token file", "point it at the file that holds the API token and nothing else")
}

// bareToken returns the only line of a file that is not certbot's.
func bareToken(text string) (string, *TokenError) {
	text = strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(text, "{") || strings.HasPrefix(text, "["):
		return "", refuse("holds braces or brackets, as JSON does", hintOnlyToken)
	case strings.HasPrefix(text, "-----BEGIN"):
		return "", refuse("is a PEM file, not an API token", "point it at the file that holds the API token")
	case onlyComments(text):
		return "", refuse("holds only comments", hintOnlyToken)
	case strings.Contains(text, "\n"):
		return "", refuse("holds several lines", hintOnlyToken)
	}
	return text, nil
}

func onlyComments(text string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && line[0] != '#' && line[0] != ';' {
			return false
		}
	}
	return true
}

var (
	// A Global API Key was 37 hexadecimal digits for long and 45 at most.
	globalKey = regexp.MustCompile(`^[0-9a-f]{37,45}$`)

	// What may stand after "Bearer" (b64token, RFC 6750 section 2.1) without the
	// padding, which no Cloudflare token has.
	bearerToken = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+$`)
)

// checkToken refuses one line that cannot be an API token. The order of the
// checks decides which reason is given when several hold: the outermost
// mistake first.
func checkToken(token string) *TokenError {
	lower := strings.ToLower(token)
	switch {
	case token == "":
		return refuse("is empty", "put the API token in it; tokens are made at "+tokenPage)
	case strings.HasPrefix(lower, "bearer ") || strings.HasPrefix(lower, "authorization:"):
		return refuse(`begins with "Bearer" or "Authorization"`, "leave that word out: only the token itself belongs here")
	case strings.HasPrefix(lower, "x-auth-"):
		return refuse("is an X-Auth header, which goes with a Global API Key", hintNewToken)
	case strings.ContainsAny(token, "{}$<>%"):
		return refuse("is a placeholder that nothing fills in ({ } $ < > or %)", "put the token itself in it; variables are not expanded")
	case strings.Contains(token, "="):
		return refuse(`holds "=", as NAME=value does`, hintOnlyToken+", with no name before it")
	case strings.ContainsAny(token, "\"'`“”‘’"):
		return refuse("holds quotes", "write the token without quotes")
	case strings.ContainsAny(token, " \t"):
		return refuse("holds blanks between characters", hintOnlyToken)
	case strings.HasPrefix(lower, "cfk_") || globalKey.MatchString(token):
		return refuse("is a Global API Key, which opens the whole account", hintNewToken)
	case strings.HasPrefix(lower, "v1.0-"):
		return refuse("is an Origin CA key, which cannot change DNS records", hintNewToken)
	case strings.HasPrefix(token, "eyJ") && len(token) > 100:
		return refuse("is a tunnel token or a JSON web token, which cannot change DNS records", hintNewToken)
	case strings.IndexFunc(token, func(r rune) bool { return r > '~' }) >= 0:
		return refuse("holds a character that is not ASCII", "copy the token again from where it was made")
	case !bearerToken.MatchString(token):
		return refuse("holds a character that no API token has", "copy the token again from where it was made")
	}
	return nil
}

// Below is certbot's cloudflare.ini, read as its ConfigObj reads it as far as
// tokens go: `key = value` at the top level, the key or the value in single or double
// quotes, comments on lines of their own or after a value. Beyond it, a ; begins a
// comment too, as in other ini files.

// certbotKey begins the keys of certbot's Cloudflare plugin.
const certbotKey = "dns_cloudflare_"

// isCertbot reports whether some line sets one of the plugin's keys.
func isCertbot(text string) bool {
	for line := range strings.Lines(text) {
		if key, _, ok := iniLine(line); ok && strings.HasPrefix(key, certbotKey) {
			return true
		}
	}
	return false
}

// iniLine splits `key = value`. It returns false for blank lines, comments, section
// headers and lines without "=".
func iniLine(line string) (key, value string, ok bool) {
	line = strings.TrimSpace(line)
	if line == "" || strings.ContainsRune("#;[", rune(line[0])) {
		return "", "", false
	}
	key, value, ok = strings.Cut(line, "=")
	key = strings.TrimSpace(key)
	if n := len(key); n >= 2 && (key[0] == '"' || key[0] == '\'') && key[n-1] == key[0] {
		key = key[1 : n-1]
	}
	return key, strings.TrimSpace(value), ok
}

// iniValue takes quotes and a trailing comment off a value.
func iniValue(value string) (string, *TokenError) {
	if value == "" {
		return "", nil
	}
	if quote := value[0]; quote == '"' || quote == '\'' {
		inner, rest, closed := strings.Cut(value[1:], string(quote))
		rest = strings.TrimSpace(rest)
		if !closed || (rest != "" && rest[0] != '#' && rest[0] != ';') {
			return "", refuse("has a value whose quotes do not match", "write dns_cloudflare_api_token = and the token, without quotes")
		}
		return strings.TrimSpace(inner), nil
	}
	if i := strings.IndexAny(value, "#;"); i >= 0 {
		value = value[:i]
	}
	return strings.TrimSpace(value), nil
}

// certbotToken returns the value of dns_cloudflare_api_token.
func certbotToken(text string) (string, *TokenError) {
	var token string
	var named, section bool
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "[") {
			section = true
		}
		key, raw, ok := iniLine(line)
		if !ok {
			continue
		}
		value, bad := iniValue(raw)
		switch key {
		case certbotKey + "email", certbotKey + "api_key":
			if value != "" || bad != nil {
				return "", refuse("is a certbot file with a Global API Key (dns_cloudflare_email, dns_cloudflare_api_key)",
					"make an API token with Zone:Read and DNS:Edit on just these zones at "+tokenPage+
						", write it as dns_cloudflare_api_token = TOKEN, and delete the lines dns_cloudflare_email and dns_cloudflare_api_key")
			}
		case certbotKey + "api_token":
			switch {
			case section:
				return "", refuse("has dns_cloudflare_api_token inside a [section], where certbot does not look", "move that line above the first [section]")
			case named:
				return "", refuse("names dns_cloudflare_api_token twice", "keep one of the two lines")
			case bad != nil:
				return "", bad
			case value == "":
				return "", refuse("has dns_cloudflare_api_token without a value", "write the API token after the =")
			}
			token, named = value, true
		}
	}
	if !named {
		return "", refuse("is a certbot file without dns_cloudflare_api_token", "add a line dns_cloudflare_api_token = TOKEN; tokens are made at "+tokenPage)
	}
	return token, nil
}

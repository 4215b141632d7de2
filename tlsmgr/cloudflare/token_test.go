package cloudflare

import (
	"errors"
	"strings"
	"testing"
)

const (
	sampleToken   = "AbCd_0123456789-abcdefghijklmnopqrstuvWX"              // 40 characters, the old form
	sampleUser    = "cfut_AbCd0123456789abcdefghijklmnopqrstuvWXYZ01234567" // 53, of a user
	sampleAccount = "cfat_AbCd0123456789abcdefghijklmnopqrstuvWXYZ01234567" // 53, of an account
	sampleHex     = "0123456789abcdef0123456789abcdef01234"                 // 37 digits: a Global API Key
)

func TestParseTokenAccepts(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"bare":                  {sampleToken, sampleToken},
		"user token":            {sampleUser + "\n", sampleUser},
		"account token":         {sampleAccount + "\n", sampleAccount},
		"CRLF":                  {sampleToken + "\r\n", sampleToken},
		"old Mac line end":      {sampleToken + "\r", sampleToken},
		"byte order mark":       {"\xef\xbb\xbf" + sampleToken + "\r\n", sampleToken},
		"blanks around":         {"\n\t " + sampleToken + " \n\n", sampleToken},
		"no-break space around": {"\u00a0" + sampleToken + "\u00a0", sampleToken},
		"short":                 {"abc", "abc"},
		"long":                  {strings.Repeat("Ab3", 300), strings.Repeat("Ab3", 300)},
		"40 upper case hex":     {strings.Repeat("AB", 20), strings.Repeat("AB", 20)},
		"36 lower case hex":     {sampleHex[1:], sampleHex[1:]},
		"46 lower case hex":     {strings.Repeat("ab", 23), strings.Repeat("ab", 23)},
		"certbot":               {"dns_cloudflare_api_token = " + sampleToken + "\n", sampleToken},
		"certbot, no blanks":    {"dns_cloudflare_api_token=" + sampleToken, sampleToken},
		"certbot, BOM and CRLF": {"\xef\xbb\xbfdns_cloudflare_api_token = " + sampleToken + "\r\n", sampleToken},
		"certbot, comments": {"# token of certbot\n; made in May\n\n  dns_cloudflare_api_token = " + sampleToken + " # zone A\n" +
			"#dns_cloudflare_email = a@example.com\n", sampleToken},
		"certbot, ; after the value":   {"dns_cloudflare_api_token = " + sampleToken + " ; zone A\n", sampleToken},
		"certbot, double quotes":       {`dns_cloudflare_api_token = "` + sampleToken + `"  # zone A`, sampleToken},
		"certbot, single quotes":       {`dns_cloudflare_api_token = '` + sampleToken + `'`, sampleToken},
		"certbot, quoted key":          {`"dns_cloudflare_api_token" = ` + sampleToken, sampleToken},
		"certbot, other keys":          {"dns_route53_x = 1\ndns_cloudflare_api_token = " + sampleToken, sampleToken},
		"certbot, later section":       {"dns_cloudflare_api_token = " + sampleToken + "\n[other]\nx = 1\n", sampleToken},
		"certbot, empty email and key": {"dns_cloudflare_email =\ndns_cloudflare_api_key = \"\"\ndns_cloudflare_api_token = " + sampleToken, sampleToken},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := ParseToken([]byte(c.content))
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			if token.Reveal() != c.want {
				t.Errorf("got %q, want %q", token.Reveal(), c.want)
			}
		})
	}
}

// refusals is every sort of content that is no API token, with the exact words
// that the user gets.
var refusals = map[string]struct{ content, reason, hint string }{
	"empty":            {"", "is empty", "put the API token in it; tokens are made at " + tokenPage},
	"blank":            {" \r\n\t\n", "is empty", "put the API token in it; tokens are made at " + tokenPage},
	"only a BOM":       {"\xef\xbb\xbf", "is empty", "put the API token in it; tokens are made at " + tokenPage},
	"too large":        {strings.Repeat("a", 4097), "is larger than 4 KiB, so it is not a token file", "point it at the file that holds the API token and nothing else"},
	"UTF-16":           {"\xff\xfea\x00b\x00", "is UTF-16 text", "save the file as UTF-8 or ASCII (in PowerShell: Set-Content -Encoding ascii)"},
	"binary":           {"\x89\xfe\xff", "is not text", "point it at the file that holds the API token"},
	"control":          {"abc\x1b[0m", "holds a control character", "type or paste the token again, with no special keys"},
	"NUL":              {sampleToken + "\x00", "holds a control character", "type or paste the token again, with no special keys"},
	"comments":         {"# token\n; none\n", "holds only comments", "put only the API token in it, on one line"},
	"two lines":        {sampleToken + "\n" + sampleToken + "\n", "holds several lines", "put only the API token in it, on one line"},
	"comment above":    {"# zone A\n" + sampleToken, "holds several lines", "put only the API token in it, on one line"},
	"JSON":             {"{\n \"token\": \"" + sampleToken + "\"\n}", "holds braces or brackets, as JSON does", "put only the API token in it, on one line"},
	"PEM":              {"-----BEGIN PRIVATE KEY-----\nabc\n", "is a PEM file, not an API token", "point it at the file that holds the API token"},
	"bearer":           {"Bearer " + sampleToken, `begins with "Bearer" or "Authorization"`, "leave that word out: only the token itself belongs here"},
	"bearer, lower":    {"bearer " + sampleToken, `begins with "Bearer" or "Authorization"`, "leave that word out: only the token itself belongs here"},
	"header":           {"Authorization: Bearer " + sampleToken, `begins with "Bearer" or "Authorization"`, "leave that word out: only the token itself belongs here"},
	"old header":       {"X-Auth-Key: " + sampleHex, "is an X-Auth header, which goes with a Global API Key", hintNewToken},
	"variable":         {"${CF_API_TOKEN}", "is a placeholder that nothing fills in ({ } $ < > or %)", "put the token itself in it; variables are not expanded"},
	"dollar":           {"$CF_API_TOKEN", "is a placeholder that nothing fills in ({ } $ < > or %)", "put the token itself in it; variables are not expanded"},
	"placeholder":      {"<token>", "is a placeholder that nothing fills in ({ } $ < > or %)", "put the token itself in it; variables are not expanded"},
	"assignment":       {"CF_API_TOKEN=" + sampleToken, `holds "=", as NAME=value does`, "put only the API token in it, on one line, with no name before it"},
	"padding":          {sampleToken + "==", `holds "=", as NAME=value does`, "put only the API token in it, on one line, with no name before it"},
	"double quotes":    {`"` + sampleToken + `"`, "holds quotes", "write the token without quotes"},
	"single quotes":    {"'" + sampleToken + "'", "holds quotes", "write the token without quotes"},
	"typographic":      {"“" + sampleToken + "”", "holds quotes", "write the token without quotes"},
	"inner blank":      {sampleToken[:20] + " " + sampleToken[20:], "holds blanks between characters", "put only the API token in it, on one line"},
	"inner tab":        {sampleToken[:20] + "\t" + sampleToken[20:], "holds blanks between characters", "put only the API token in it, on one line"},
	"new global key":   {"cfk_" + strings.Repeat("Ab1", 15), "is a Global API Key, which opens the whole account", hintNewToken},
	"37 hex":           {sampleHex, "is a Global API Key, which opens the whole account", hintNewToken},
	"40 hex":           {sampleHex + "abc\n", "is a Global API Key, which opens the whole account", hintNewToken},
	"45 hex":           {sampleHex + "01234567", "is a Global API Key, which opens the whole account", hintNewToken},
	"origin CA key":    {"v1.0-0123456789abcdef-0123", "is an Origin CA key, which cannot change DNS records", hintNewToken},
	"tunnel token":     {"eyJhIjoi" + strings.Repeat("Ab1", 40), "is a tunnel token or a JSON web token, which cannot change DNS records", hintNewToken},
	"accent":           {"é" + sampleToken, "holds a character that is not ASCII", "copy the token again from where it was made"},
	"zero width":       {sampleToken + "\u200b", "holds a character that is not ASCII", "copy the token again from where it was made"},
	"email and key":    {"a@example.com:" + sampleHex, "holds a character that no API token has", "copy the token again from where it was made"},
	"certbot key":      {"dns_cloudflare_email = a@example.com\ndns_cloudflare_api_key = " + sampleHex, reasonCertbotKey, hintCertbotKey},
	"certbot both":     {"dns_cloudflare_api_token = " + sampleToken + "\ndns_cloudflare_email = a@example.com\n", reasonCertbotKey, hintCertbotKey},
	"certbot section":  {"[cf]\ndns_cloudflare_api_token = " + sampleToken, "has dns_cloudflare_api_token inside a [section], where certbot does not look", "move that line above the first [section]"},
	"certbot twice":    {strings.Repeat("dns_cloudflare_api_token = "+sampleToken+"\n", 2), "names dns_cloudflare_api_token twice", "keep one of the two lines"},
	"certbot no value": {"dns_cloudflare_api_token =\n", "has dns_cloudflare_api_token without a value", "write the API token after the ="},
	"certbot no token": {"dns_cloudflare_zone = x\n", "is a certbot file without dns_cloudflare_api_token", "add a line dns_cloudflare_api_token = TOKEN; tokens are made at " + tokenPage},
	"certbot quotes":   {`dns_cloudflare_api_token = "` + sampleToken, "has a value whose quotes do not match", "write dns_cloudflare_api_token = and the token, without quotes"},
	"certbot rest":     {`dns_cloudflare_api_token = "` + sampleToken + `" x`, "has a value whose quotes do not match", "write dns_cloudflare_api_token = and the token, without quotes"},
	"certbot global":   {"dns_cloudflare_api_token = " + sampleHex, "is a Global API Key, which opens the whole account", hintNewToken},
	"certbot variable": {"dns_cloudflare_api_token = ${TOKEN}", "is a placeholder that nothing fills in ({ } $ < > or %)", "put the token itself in it; variables are not expanded"},
}

const (
	reasonCertbotKey = "is a certbot file with a Global API Key (dns_cloudflare_email, dns_cloudflare_api_key)"
	hintCertbotKey   = "make an API token with Zone:Read and DNS:Edit on just these zones at https://dash.cloudflare.com/profile/api-tokens, " +
		"write it as dns_cloudflare_api_token = TOKEN, and delete the lines dns_cloudflare_email and dns_cloudflare_api_key"
)

func TestParseTokenRefuses(t *testing.T) {
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) {
			token, err := ParseToken([]byte(c.content))
			bad, ok := errors.AsType[*TokenError](err)
			if !ok {
				t.Fatalf("got error %v, want a *TokenError", err)
			}
			if !token.IsZero() {
				t.Error("a token came with the error")
			}
			if bad.Reason != c.reason {
				t.Errorf("reason\n got %s\nwant %s", bad.Reason, c.reason)
			}
			if bad.Hint != c.hint || Hint(err) != c.hint {
				t.Errorf("hint\n got %s\nwant %s", bad.Hint, c.hint)
			}
			if want := "token " + c.reason; err.Error() != want {
				t.Errorf("error %q, want %q", err, want)
			}
			if Temporary(err) {
				t.Error("a malformed token is taken for a temporary failure")
			}
		})
	}
}

func FuzzParseToken(f *testing.F) {
	known := make(map[[2]string]bool)
	for _, c := range refusals {
		f.Add([]byte(c.content))
		known[[2]string{c.reason, c.hint}] = true
	}
	f.Add([]byte(sampleToken))
	f.Add([]byte(`dns_cloudflare_api_token = "` + sampleToken + `" # x`))
	f.Fuzz(func(t *testing.T, content []byte) {
		token, err := ParseToken(content)
		if err == nil {
			if !bearerToken.MatchString(token.Reveal()) || !strings.Contains(string(content), token.Reveal()) {
				t.Fatalf("accepted %q as %q", content, token.Reveal())
			}
			again, err := ParseToken([]byte(token.Reveal()))
			if err != nil || !again.Equal(token) {
				t.Fatalf("%q was accepted, and its token %q by itself was not: %v", content, token.Reveal(), err)
			}
			return
		}
		bad, ok := errors.AsType[*TokenError](err)
		if !ok || bad.Reason == "" || bad.Hint == "" || !token.IsZero() {
			t.Fatalf("%q: error %#v", content, err)
		}
		// An error made of words from the table alone cannot show its input.
		if !known[[2]string{bad.Reason, bad.Hint}] || bad.Source != "" || bad.Err != nil {
			t.Fatalf("error %#v is not in the table of refusals", err)
		}
	})
}

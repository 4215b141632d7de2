package config

import (
	"fmt"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// cloudflare checks every credential, and that no two claim the same zone or
// name. It completes Name and normalises Zones and APIURL.
func (v *validator) cloudflare() {
	zones, names := make(map[string]string), make(map[string]string)
	for i := range v.cfg.Cloudflare {
		path := fmt.Sprintf("cloudflare[%d]", i)
		credential := &v.cfg.Cloudflare[i]
		v.zones(path, credential, zones)
		v.tokenOf(path, credential)
		if url := credential.APIURL; url != "" && !v.bad(path+".api_url", url, httpsFault(url)) {
			credential.APIURL = strings.TrimRight(url, "/")
		}
		if credential.Name == "" && len(credential.Zones) > 0 {
			credential.Name = credential.Zones[0]
		}
		if other, taken := names[credential.Name]; taken && credential.Name != "" {
			// With the name of a zone, the zone has been reported already.
			if v.src.has(path+".name") || v.src.has(other+".name") {
				v.fail(path+".name", fmt.Sprintf("%s has the name %s of %s", path, v.src.quote(path+".name", credential.Name), other), "give each credential a name of its own")
			}
			continue
		}
		names[credential.Name] = path
	}
}

// zones normalises and checks the zones of one credential. taken has those seen
// so far, with where they are.
func (v *validator) zones(path string, credential *Credential, taken map[string]string) {
	if len(credential.Zones) == 0 {
		v.missing(path, "zones", path+" lists no zones", "add zones: [example.com]; a token is used for the zones listed here and for nothing else")
		return
	}
	var good []string
	for i, text := range credential.Zones {
		where := fmt.Sprintf("%s.zones[%d]", path, i)
		if text == "" {
			continue // reported by the decoder
		}
		zone, wrong := zoneName(text)
		if v.bad(where, text, wrong) {
			continue
		}
		if other, ok := taken[zone]; ok {
			hint := "keep one of the two; only one token can be used for a zone"
			if parentOf(parentOf(other)) == path {
				hint = "remove one of the two"
			}
			v.fail(where, fmt.Sprintf("the zone %s is already listed as %s on %s", v.src.quote(where, zone), other, v.place(other)), hint)
			continue
		}
		taken[zone] = where
		good = append(good, zone)
	}
	credential.Zones = good
}

// zoneName returns a zone in its one form.
func zoneName(text string) (zone string, wrong *fault) {
	if rest, ok := strings.CutPrefix(text, "*."); ok {
		return "", &fault{"has a wildcard", "write " + rest + "; a zone holds all names below it"}
	}
	zone, wrong = normalName(text)
	switch {
	case wrong != nil:
		return "", wrong
	case isIP(zone):
		return "", &fault{"is an IP address", "write the zone's domain name"}
	case !strings.Contains(zone, "."):
		return "", &fault{"is not a whole domain name", "write it like example.com"}
	}
	if suffix, icann := publicsuffix.PublicSuffix(zone); suffix == zone && icann {
		return "", &fault{"is a public suffix, under which anyone can register names", "write the domain that you registered"}
	}
	return zone, nil
}

// tokenOf checks that exactly one source of the token is given.
func (v *validator) tokenOf(path string, c *Credential) {
	file, inline, named := c.TokenFile != "", !c.Token.IsZero(), c.Credential != ""
	const keep = "keep token_file, and remove the others: a file can be replaced without touching the configuration"
	switch {
	case file && inline && named:
		v.fail(path+".token", path+" has token_file, token and credential", keep)
	case file && inline:
		v.fail(path+".token", path+" has both token and token_file", "keep token_file, and remove token: a file can be replaced without touching the configuration")
	case file && named:
		v.fail(path+".credential", path+" has both token_file and credential", "keep credential under systemd (LoadCredential), token_file elsewhere")
	case inline && named:
		v.fail(path+".token", path+" has both token and credential", "keep credential, and remove token")
	case !file && !inline && !named:
		if !v.doubtful[path+".token"] && !v.doubtful[path+".credential"] {
			v.missing(path, "token_file", path+" has no token",
				"add token_file: FILE, with a token that has Zone:Read and DNS:Edit on the zones; the environment is never asked for one")
		}
	}
	if inline && strings.HasPrefix(c.Token.Reveal(), "/") {
		v.fail(path+".token", path+".token is the name of a file", "did you mean token_file?")
	}
	if file && looksLikeToken(c.TokenFile[strings.LastIndexByte(c.TokenFile, '/')+1:]) {
		v.fail(path+".token_file", path+".token_file looks like a token, not like a file name", "write the token into a file and give its name here")
	}
	switch {
	case named && looksLikeToken(c.Credential):
		v.fail(path+".credential", path+".credential looks like a token, not like the name of a systemd credential", "write NAME of LoadCredential=NAME:FILE")
	case named && (strings.ContainsRune(c.Credential, '/') || strings.HasPrefix(c.Credential, ".")):
		v.bad(path+".credential", c.Credential, &fault{"is not the name of a systemd credential", "write NAME of LoadCredential=NAME:FILE; for a file, write token_file"})
	}
}

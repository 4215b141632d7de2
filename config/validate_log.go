package config

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// redactedQuery is what redact_query is if it is not written: what signs and
// tokens travel under.
func redactedQuery() Texts {
	return Texts{"access_token", "api_key", "apikey", "auth", "client_secret", "code", "id_token", "key", "password", "refresh_token",
		"secret", "sig", "signature", "state", "token", "X-Amz-Credential", "X-Amz-Security-Token", "X-Amz-Signature"}
}

// logFile is what a file was given for, and where.
type logFile struct {
	rotate Rotate
	path   string
}

// logs completes and checks what is logged where. A log of its own that a site
// or route has takes from the one around it what it does not say: a list of what
// is secret must not be lost with a change of the file name.
func (v *validator) logs() {
	files := make(map[string]logFile)
	v.logFile(files, "log", v.cfg.Log.Output, v.cfg.Log.Rotate)
	outer := v.cfg.Log.Access
	v.accessLog(files, outer, nil, "log.access")
	for i := range v.cfg.Sites {
		site := &v.cfg.Sites[i]
		around := outer
		if own := site.AccessLog; own != nil {
			v.accessLog(files, own, outer, site.Path()+".access_log")
			if !own.Off {
				around = own
			}
		}
		for n := range site.Routes {
			if own := site.Routes[n].AccessLog; own != nil {
				v.accessLog(files, own, around, site.routePath(n)+".access_log")
			}
		}
	}
}

// accessLog completes and checks one.
func (v *validator) accessLog(files map[string]logFile, a, around *AccessLog, path string) {
	if a == nil || a.Off {
		return
	}
	if (a.Sample <= 0 || a.Sample > 1) && !v.doubts(path+".sample") {
		v.fail(path+".sample", fmt.Sprintf("%s %v is not above 0 and at most 1", v.name(path+".sample"), a.Sample), "0.1 logs one request of ten; access_log: off logs none")
	}
	for _, text := range a.Exclude {
		if !strings.HasPrefix(text, "/") || strings.Contains(text, "*") {
			v.bad(path+".exclude", text, &fault{"is no path", "write /healthz for that path alone, /static/ for everything under it"})
		}
	}
	if a.Format == "combined" && v.src.has(v.name(path+".headers")) {
		v.warn(path+".headers", v.name(path+".headers")+" has no effect with the format combined", "write format: json")
	}
	for _, text := range a.Headers {
		if !isToken(text) {
			v.bad(path+".headers", text, &fault{"is not the name of a field", "a name is made of letters, digits and -"})
		}
	}
	if around != nil && !around.Off {
		v.inheritLog(a, around, path)
	}
	if a.RedactQuery == nil {
		a.RedactQuery = redactedQuery()
	}
	v.logFile(files, path, a.Output, a.Rotate)
	if !v.src.has(v.name(path+".reveal")) && !v.src.has(v.name(path+".headers")) {
		return
	}
	for _, text := range a.Reveal {
		if !slices.ContainsFunc(a.Headers, func(name string) bool { return http.CanonicalHeaderKey(name) == http.CanonicalHeaderKey(text) }) {
			v.bad(path+".reveal", text, &fault{"is not logged at all", "name it in headers too"})
		}
	}
}

// inheritLog gives a log what it does not say itself.
func (v *validator) inheritLog(a, around *AccessLog, path string) {
	says := func(key string) bool { return v.src.has(v.name(path + "." + key)) }
	if !says("format") {
		a.Format = around.Format
	}
	if !says("output") {
		a.Output = around.Output
		if !says("rotate") {
			a.Rotate = around.Rotate
		}
	}
	if !says("sample") {
		a.Sample = around.Sample
	}
	if !says("exclude") {
		a.Exclude = around.Exclude
	}
	if !says("redact_query") {
		a.RedactQuery = around.RedactQuery
	}
	if !says("headers") {
		a.Headers = around.Headers
		if !says("reveal") {
			a.Reveal = around.Reveal
		}
	}
}

// logFile checks that two logs in one file agree when it is put aside.
func (v *validator) logFile(files map[string]logFile, path, output string, rotate Rotate) {
	if isStream(output) {
		return
	}
	other, taken := files[output]
	if !taken {
		files[output] = logFile{rotate, path}
		return
	}
	if other.rotate != rotate {
		v.fail(path+".rotate", fmt.Sprintf("%s and %s write to one file and rotate it differently", v.name(path), v.name(other.path)),
			"write the same rotate for both, or give each a file of its own")
	}
}

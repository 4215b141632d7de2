package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/sallyport/sallyport/config/secret"
)

// This file decodes the values that have a short form.

// off is the word that switches an address or a socket off.
const off = "off"

// isOff reports whether a node says `off` (or false, which is what YAML 1.1
// makes of it).
func isOff(n ast.Node) bool {
	text, ok := scalarText(n)
	if _, truth := n.(*ast.BoolNode); truth {
		return strings.EqualFold(text, "false")
	}
	return ok && text == off
}

// addresses decodes one address, a list of them, or off.
func (d *decoder) addresses(n ast.Node, v reflect.Value, s slot) {
	if isOff(n) {
		s.at = spanOf(n.GetToken())
		d.src.mark(s.path, s.at)
		if !s.field.off {
			d.fail(s.at, s.path, s.path+" cannot be off", "write an address, or remove the line")
			return
		}
		v.Set(reflect.ValueOf(Addresses{}))
		return
	}
	if _, ok := n.(*ast.SequenceNode); ok {
		d.list(n, v, s)
		return
	}
	if _, ok := scalarText(n); !ok {
		d.src.mark(s.path, s.at)
		d.wrong(n, s, "wants an address or a list of addresses", "")
		return
	}
	one := Addresses{""}
	d.scalar(n, reflect.ValueOf(one).Index(0), s)
	v.Set(reflect.ValueOf(one))
}

// short returns where a mapping's short form goes: if the node is one word, the
// key that it stands for, with defaults in all others; else the mapping itself.
func (d *decoder) short(n ast.Node, v reflect.Value, s slot, key string) (reflect.Value, slot) {
	if _, scalar := scalarText(n); !scalar {
		return v, s
	}
	d.fill(v)
	fields := d.fieldsOf(v.Type())
	i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
	s.field = fields[i]
	return v.FieldByIndex(fields[i].index), s
}

// toggled decodes true or false in the place of a mapping whose type has a
// field Off: true is the mapping with its defaults; false is a mapping that is
// off, and takes a route out of what its site says.
func (d *decoder) toggled(n ast.Node, v reflect.Value, s slot) bool {
	truth, ok := n.(*ast.BoolNode)
	if !ok {
		return false
	}
	toggle := d.grammarOf(v.Type()).toggle
	if toggle < 0 {
		return false
	}
	d.src.mark(s.path, s.at)
	d.fill(v)
	v.Field(toggle).SetBool(!truth.Value)
	return true
}

// texts decodes a list of texts, or one alone.
func (d *decoder) texts(n ast.Node, v reflect.Value, s slot) {
	if _, ok := scalarText(n); !ok {
		d.list(n, v, s)
		return
	}
	one := Texts{""}
	d.scalar(n, reflect.ValueOf(one).Index(0), s)
	v.Set(reflect.ValueOf(one))
}

// pairs decodes a mapping of names to texts, in the order of the file.
func (d *decoder) pairs(n ast.Node, v reflect.Value, s slot) {
	d.src.mark(s.path, s.at)
	list, ok := entries(n)
	if !ok {
		d.wrong(n, s, "wants names and their values", "write "+s.field.key+": {NAME: VALUE}")
		return
	}
	first := make(map[string]span)
	pairs := Pairs{}
	for _, entry := range list {
		name, at, ok := d.key(entry, s)
		if !ok {
			continue
		}
		shown := name
		if !printable(name) || d.src.hides(at) {
			shown = "…"
		}
		path := s.path + "[" + shown + "]"
		if before, twice := first[name]; twice {
			d.fail(at, path, path+" is written twice", fmt.Sprintf("the first is on line %d; keep one", before.line))
			continue
		}
		first[name] = at
		pair := Pair{Name: name}
		value := reflect.ValueOf(&pair.Value).Elem()
		d.value(entry.Value, value, slot{path: path, at: at, field: field{key: name, template: s.field.template, path: s.field.path}})
		pairs = append(pairs, pair)
	}
	v.Set(reflect.ValueOf(pairs))
}

// switchedOff reports whether a node says `off` where a mapping can be switched
// off, and notes it: a route does without what its site has.
func (d *decoder) switchedOff(n ast.Node, v reflect.Value) bool {
	if v.Kind() != reflect.Struct || !isOff(n) {
		return false
	}
	toggle := d.grammarOf(v.Type()).toggle
	if toggle < 0 {
		return false
	}
	v.Field(toggle).SetBool(true)
	return true
}

// users decodes a mapping of names to hashes. Hashes are full of dollar signs,
// which hope for nothing here, and are secrets.
func (d *decoder) users(n ast.Node, v reflect.Value, s slot) {
	d.src.mark(s.path, s.at)
	list, ok := entries(n)
	if !ok {
		d.wrong(n, s, "wants names and the hashes of their passwords", "write users: {NAME: HASH}, with hashes made by: htpasswd -nB NAME")
		return
	}
	first := make(map[string]span)
	users := Users{}
	for _, entry := range list {
		name, at, ok := d.key(entry, s)
		if !ok {
			continue
		}
		shown := name
		if !printable(name) {
			shown = "…"
		}
		path := s.path + "[" + shown + "]"
		d.src.mark(path, at)
		d.src.hide(at.line, at.line)
		hash, isText := scalarText(entry.Value)
		before, twice := first[name]
		switch {
		case twice:
			d.fail(at, path, path+" is written twice", fmt.Sprintf("the first is on line %d; keep one", before.line))
			continue
		case !isText || strings.TrimSpace(hash) == "":
			d.fail(at, path, path+" wants the hash of a password", "make one with: htpasswd -nB "+shown)
			continue
		}
		first[name] = at
		users = append(users, User{Name: name, Hash: secret.New(strings.TrimSpace(hash))})
	}
	v.Set(reflect.ValueOf(users))
}

// sites decodes the mapping of names to sites, in the order of the file.
func (d *decoder) sites(n ast.Node, v reflect.Value, s slot) {
	d.src.mark(s.path, s.at)
	list, ok := entries(n)
	if !ok {
		hint := "write each site as \"name: server\""
		if _, isList := n.(*ast.SequenceNode); isList {
			hint += ", without a dash before it"
		}
		d.wrong(n, s, "wants host names and what they serve", hint)
		return
	}
	first := make(map[string]span, len(list))
	sites := make([]Site, 0, len(list))
	for _, entry := range list {
		key, at, ok := d.key(entry, s)
		if !ok {
			continue
		}
		path := d.sitePath(key, at)
		name, wrong := normalName(key)
		if before, twice := first[name]; twice && wrong == nil {
			d.fail(at, path, path+" is written twice", fmt.Sprintf("the first is on line %d; write all routes of a name in one place", before.line))
			continue
		}
		d.src.mark(path, at)
		d.src.written["sites["+name+"]"] = path
		sites = append(sites, Site{})
		site := &sites[len(sites)-1]
		d.site(entry.Value, reflect.ValueOf(site).Elem(), slot{path: path, at: at})
		site.Name = name
		if wrong != nil {
			d.fail(at, path, path+" "+wrong.message, wrong.hint)
			sites = sites[:len(sites)-1]
			continue
		}
		first[name] = at
	}
	v.Set(reflect.ValueOf(sites))
}

// upstreams decodes the mapping of names to upstreams, in the order of the
// file.
func (d *decoder) upstreams(n ast.Node, v reflect.Value, s slot) {
	d.src.mark(s.path, s.at)
	list, ok := entries(n)
	if !ok {
		d.wrong(n, s, "wants names and the servers of each", "write NAME: {servers: [http://HOST:PORT]}")
		return
	}
	first := make(map[string]span)
	var upstreams []Upstream
	for _, entry := range list {
		name, at, ok := d.key(entry, s)
		if !ok {
			continue
		}
		shown := name
		if !printable(name) || d.src.hides(at) {
			shown = "…"
		}
		path := "upstreams[" + shown + "]"
		if before, twice := first[name]; twice {
			d.fail(at, path, path+" is written twice", fmt.Sprintf("the first is on line %d; keep one", before.line))
			continue
		}
		first[name] = at
		var u Upstream
		d.src.mark(path, at)
		d.src.written["upstreams["+name+"]"] = path
		_, isList := entry.Value.(*ast.SequenceNode)
		_, isText := scalarText(entry.Value)
		if isList || isText { // what one would like to write, but then nothing could be added
			d.fail(at, path, path+" wants keys and values", "write "+shown+": {servers: [http://HOST:PORT]}")
			continue
		}
		d.value(entry.Value, reflect.ValueOf(&u).Elem(), slot{path: path, at: at})
		u.Name = name
		if wrong := upstreamName(name); wrong != nil {
			d.fail(at, path, path+" "+wrong.message, d.hintFor(shown, name, wrong))
			continue
		}
		upstreams = append(upstreams, u)
	}
	v.Set(reflect.ValueOf(upstreams))
}

// torn puts an address together again which the YAML parser took for a key and
// its value: http://a:80 in {servers: [http://a:80]}, though no blank follows
// the colon.
func torn(n ast.Node) (text string, at span, ok bool) {
	list, isMapping := entries(n)
	if !isMapping || len(list) != 1 {
		return "", span{}, false
	}
	key, plain := keyText(list[0].Key)
	port, scalar := scalarText(list[0].Value)
	at, end := spanOf(firstToken(list[0].Key)), spanOf(list[0].Value.GetToken())
	if !plain || !scalar || !strings.Contains(key, "://") || end.line != at.line || end.column != at.column+len(key)+1 {
		return "", span{}, false
	}
	at.width = len(key) + 1 + len(port)
	return key + ":" + port, at, true
}

// hintFor returns the hint of a fault, unless it could show a secret.
func (d *decoder) hintFor(shown, text string, wrong *fault) string {
	if shown != text {
		return ""
	}
	return wrong.hint
}

// site decodes one site: the address of a server, or keys and values.
func (d *decoder) site(n ast.Node, v reflect.Value, s slot) {
	if _, null := n.(*ast.NullNode); null {
		d.fail(s.at, s.path, s.path+" says nothing about what it serves", "write the server's address after the colon: http://HOST:PORT")
		return
	}
	if _, ok := scalarText(n); ok {
		fields := d.fieldsOf(siteType)
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == "proxy" })
		d.fill(v)
		s = slot{path: join(s.path, "proxy"), at: s.at, field: fields[i]}
		d.value(n, v.FieldByIndex(fields[i].index), s)
		return
	}
	d.value(n, v, s)
}

// sitePath returns the path of a site, which holds its name as it is written,
// in lower case. A name that could be part of a secret is left out.
func (d *decoder) sitePath(key string, at span) string {
	key = strings.ToLower(key)
	if !printable(key) || d.src.hides(at) && !strings.ContainsRune(key, '.') && key != "localhost" {
		key = "…"
	}
	return "sites[" + key + "]"
}

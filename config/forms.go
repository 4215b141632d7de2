package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
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
	first := make(map[string]span)
	var sites []Site
	for _, entry := range list {
		key, at, ok := d.key(entry, s)
		if !ok {
			continue
		}
		path := d.sitePath(key, at)
		name, wrong := normalName(key)
		site := Site{Name: name}
		if before, twice := first[name]; twice && wrong == nil {
			d.fail(at, path, path+" is written twice", fmt.Sprintf("the first is on line %d; write all routes of a name in one place", before.line))
			continue
		}
		d.src.mark(path, at)
		d.src.written["sites["+name+"]"] = path
		d.site(entry.Value, reflect.ValueOf(&site).Elem(), slot{path: path, at: at})
		if wrong != nil {
			d.fail(at, path, path+" "+wrong.message, wrong.hint)
			continue
		}
		first[name] = at
		sites = append(sites, site)
	}
	v.Set(reflect.ValueOf(sites))
}

// site decodes one site: the address of a server, or keys and values.
func (d *decoder) site(n ast.Node, v reflect.Value, s slot) {
	if _, null := n.(*ast.NullNode); null {
		d.fail(s.at, s.path, s.path+" says nothing about what it serves", "write the server's address after the colon: http://HOST:PORT")
		return
	}
	if _, ok := scalarText(n); ok {
		fields := fieldsOf(siteType)
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == "proxy" })
		d.fill(v)
		s = slot{path: join(s.path, "proxy"), at: s.at, field: fields[i]}
		d.value(n, v.Field(fields[i].index), s)
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

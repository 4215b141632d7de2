package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// decoder fills the configuration types from a syntax tree. It goes on after a
// problem, so that one run finds them all.
type decoder struct {
	src      *source
	dir      string          // that relative file names are relative to
	doubtful map[string]bool // paths with which something is wrong
	problems Problems

	known map[reflect.Type]*grammar
}

// slot is where a value stands: its path, its place for problems, and the
// field of the grammar that it fills.
type slot struct {
	path  string
	at    span
	field field
}

func (d *decoder) fail(at span, path, message, hint string) {
	d.doubtful[path] = true
	d.problems = append(d.problems, d.src.problem(at, path, message, hint))
}

// value decodes a node into v.
func (d *decoder) value(n ast.Node, v reflect.Value, s slot) {
	n, ok := d.unwrap(n, s)
	if !ok {
		d.fillField(v, s.field)
		return
	}
	if d.handlingForm(n, &v, &s) {
		return
	}
	if d.ownForm(n, v, s) {
		return
	}
	v, s = d.shortForm(n, v, s)
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if d.switchedOff(n, v.Elem()) {
			d.src.mark(s.path, s.at)
			return
		}
		d.value(n, v.Elem(), s)
	case reflect.Struct:
		if !d.toggled(n, v, s) {
			d.structure(n, v, s)
		}
	case reflect.Slice:
		d.list(n, v, s)
	default:
		d.scalar(n, v, s)
	}
}

// ownForm decodes a type that is not written as its kind would be. It reports
// false for the rest.
func (d *decoder) ownForm(n ast.Node, v reflect.Value, s slot) bool {
	switch v.Type() {
	case secretType:
		d.secret(n, v, s)
	case addressesType:
		d.addresses(n, v, s)
	case sitesType:
		d.sites(n, v, s)
	case upstreamsType:
		d.upstreams(n, v, s)
	case textsType:
		d.texts(n, v, s)
	case pairsType:
		d.pairs(n, v, s)
	case usersType:
		d.users(n, v, s)
	case serverType:
		text, at, ok := torn(n)
		if !ok {
			return false
		}
		d.fill(v)
		d.src.mark(s.path, at)
		v.FieldByName("URL").SetString(text)
	default:
		return false
	}
	return true
}

// shortForm returns the field of a mapping that a plain value in its place
// means, and v itself where that is not so.
func (d *decoder) shortForm(n ast.Node, v reflect.Value, s slot) (reflect.Value, slot) {
	switch v.Type() {
	case serverType:
		if _, scalar := scalarText(n); scalar {
			d.fill(v)
			v = v.FieldByName("URL")
			s.field = d.fieldsOf(serverType)[0]
		}
	case tlsType:
		if _, scalar := scalarText(n); scalar {
			v = v.FieldByName("Issuer")
			s.field = d.fieldsOf(tlsType)[0]
		}
	case filesType:
		return d.short(n, v, s, "root")
	case closedType:
		return d.short(n, v, s, "file")
	case redirectType:
		return d.short(n, v, s, "to")
	case respondType:
		word := "body"
		if _, number := n.(*ast.IntegerNode); number {
			word = "status"
		}
		return d.short(n, v, s, word)
	}
	return v, s
}

// unwrap takes off what YAML may put around a value and we do not support, and
// reports it. ok is false when nothing is left to decode.
func (d *decoder) unwrap(n ast.Node, s slot) (_ ast.Node, ok bool) {
	switch n := n.(type) {
	case *ast.AnchorNode:
		d.fail(spanOf(n.GetToken()), s.path, "YAML anchors (&name) are not supported", "write the value where it is needed")
		return d.unwrap(n.Value, s)
	case *ast.TagNode:
		d.fail(spanOf(n.GetToken()), s.path, "YAML tags (!name) are not supported", "remove the tag")
		return d.unwrap(n.Value, s)
	case *ast.AliasNode:
		d.fail(spanOf(n.GetToken()), s.path, "YAML aliases (*name) are not supported", "write the value where it is needed")
		return nil, false
	case nil, *ast.NullNode:
		d.src.mark(s.path, s.at)
		d.fail(s.at, s.path, named(s.path)+" has no value", "write one after the colon, or remove the line")
		return nil, false
	}
	return n, true
}

// structure decodes a mapping into a struct and completes it with defaults.
func (d *decoder) structure(n ast.Node, v reflect.Value, s slot) {
	d.src.mark(s.path, s.at)
	list, ok := entries(n)
	if !ok {
		d.wrong(n, s, "wants keys and values", hintFor(s.path))
		d.fill(v)
		return
	}
	d.fill(v)
	fields := d.fieldsOf(v.Type())
	given := make([]int, len(fields)) // the line of each key, 0 for none
	for _, entry := range list {
		key, at, ok := d.key(entry, s)
		if !ok {
			continue
		}
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
		if i < 0 {
			d.unknownKey(key, at, v.Type(), s)
			continue
		}
		child := slot{path: join(s.path, key), at: at, field: fields[i]}
		if given[i] > 0 {
			d.fail(at, child.path, named(child.path)+" is written twice", fmt.Sprintf("the first is on line %d; keep one", given[i]))
			continue
		}
		given[i] = at.line
		place := v.FieldByIndex(fields[i].index)
		place.SetZero() // a default stands in for a key that is not there, not for a wrong value
		d.value(entry.Value, place, child)
	}
}

// hintFor says how a mapping at a path is written.
func hintFor(path string) string {
	if path == "" {
		return smallest
	}
	key := path[strings.LastIndexByte(path, '.')+1:]
	if strings.HasSuffix(path, "]") {
		key = "NAME"
	}
	return "write " + key + ": {KEY: VALUE}, or the keys on lines of their own below it"
}

// key returns the text of an entry's key, and reports keys that are none.
func (d *decoder) key(entry *ast.MappingValueNode, s slot) (key string, at span, ok bool) {
	at = spanOf(firstToken(entry.Key))
	if _, merge := entry.Key.(*ast.MergeKeyNode); merge {
		d.fail(at, s.path, "YAML merge keys (<<) are not supported", "write the keys where they are needed")
		return "", at, false
	}
	key, plain := keyText(entry.Key)
	switch {
	case !plain:
		d.fail(at, s.path, "a key must be plain text", "write \"name: value\"")
		return "", at, false
	case consultsEnvironment(key):
		d.environment(at, s)
		return "", at, false
	}
	return key, at, true
}

// list decodes a sequence.
func (d *decoder) list(n ast.Node, v reflect.Value, s slot) {
	d.src.mark(s.path, s.at)
	sequence, ok := n.(*ast.SequenceNode)
	if !ok {
		hint := `put "- " before the first key of each item`
		if text, scalar := scalarText(n); scalar {
			hint = "put it in brackets"
			if d.shows(n, text) {
				hint += ": [" + text + "]"
			}
		}
		d.wrong(n, s, "wants a list", hint)
		return
	}
	s.field.def = "" // it stands in for the list, not for an item
	items := reflect.MakeSlice(v.Type(), len(sequence.Values), len(sequence.Values))
	for i, item := range sequence.Values {
		at := s.at
		if item != nil {
			at = spanOf(firstToken(item))
		}
		d.value(item, items.Index(i), slot{path: s.path + "[" + strconv.Itoa(i) + "]", at: at, field: s.field})
	}
	v.Set(items)
}

// wrong reports that a value is not what its key wants. The message continues
// the key: "wants a list", or the value: "must not be negative".
func (d *decoder) wrong(n ast.Node, s slot, message, hint string) {
	got := ""
	switch n.(type) {
	case *ast.SequenceNode:
		got = "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		got = "keys and values"
	default:
		if text, ok := scalarText(n); ok && d.shows(n, text) {
			got = strconv.Quote(text)
		}
	}
	switch {
	case got == "":
	case strings.HasPrefix(message, "wants"):
		message += ", not " + got
	default:
		message = got + " " + message
	}
	if s.at.line == 0 { // the document itself
		s.at = spanOf(firstToken(n))
	}
	d.fail(s.at, s.path, named(s.path)+" "+message, hint)
}

// shows reports whether the text of a node may be printed.
func (d *decoder) shows(n ast.Node, text string) bool {
	return !d.src.hides(spanOf(n.GetToken())) && printable(text)
}

// safeHint drops a hint which is made from a value that may be a secret.
func (d *decoder) safeHint(n ast.Node, text, hint string) string {
	if !d.shows(n, text) {
		return ""
	}
	return hint
}

// join returns the path of a key under a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// named returns a path as the subject of a sentence.
func named(path string) string {
	if path == "" {
		return "the configuration"
	}
	return path
}

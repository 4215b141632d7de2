package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// explains reports whether a key on a line that may hold a secret can be
// printed: it is a plain word, and one that we have an idea of, so that it is
// no piece of the secret.
func explains(t reflect.Type, key string, known []string) bool {
	if len(key) > 32 || strings.Trim(strings.ToLower(key), "abcdefghijklmnopqrstuvwxyz_-") != "" {
		return false
	}
	_, isNear := nearest(strings.ToLower(key), known)
	return isNear || soundsSecret(key, true) || habit(t, key) != ""
}

// kindOf says what a struct type is, for a hint.
func kindOf(t reflect.Type) string {
	switch t {
	case siteType:
		return "a site"
	case reflect.TypeFor[Route]():
		return "a route"
	}
	return "this mapping"
}

// unknownKey reports a key that the type does not have.
func (d *decoder) unknownKey(key string, at span, t reflect.Type, s slot) {
	var known []string
	for _, f := range fieldsOf(t) {
		known = append(known, f.key)
	}
	shown := strconv.Quote(key)
	if !printable(key) || d.src.hides(at) && !explains(t, key, known) {
		shown = notShown
	}
	message := "unknown key " + shown
	if s.path != "" {
		message += " in " + s.path
	}

	hint := "the keys here are " + strings.Join(known, ", ")
	if len(known) > 16 {
		hint = "config/REFERENCE.md lists the keys of " + kindOf(t)
	}
	if instead := habit(t, key); instead != "" {
		hint = instead
	} else if near, ok := nearest(strings.ToLower(key), known); ok {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if places := placesOf(key); len(places) > 0 {
		hint = fmt.Sprintf("%q belongs in %s", key, orList(places))
	}
	path := s.path
	if shown != notShown {
		path = join(path, key)
	}
	d.doubtful[s.path] = true // the key may be a misspelt one that is now missing
	d.fail(at, path, message, hint)
}

// placesOf returns the paths of the mappings that have a key.
func placesOf(key string) []string {
	var places []string
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || t == secretType {
			return
		}
		for _, f := range fieldsOf(t) {
			if f.key == key {
				places = append(places, cmp.Or(path, "the top of the file"))
			}
			next := join(path, f.key)
			switch t.FieldByIndex(f.index).Type {
			case sitesType:
				next = "sites[NAME]"
			case upstreamsType:
				next = "upstreams[NAME]"
			case reflect.TypeFor[[]Credential](), reflect.TypeFor[[]Server]():
				next += "[]"
			}
			walk(t.FieldByIndex(f.index).Type, next)
		}
	}
	walk(reflect.TypeFor[Config](), "")
	slices.Sort(places)
	return slices.Compact(places)
}

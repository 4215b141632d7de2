package config

import (
	"reflect"
	"slices"
	"strings"
)

// Files returns the files and directories that the configuration names, sorted,
// except for what the program itself writes: storage, caches, logs, sockets.
func (c *Config) Files() []string {
	var list []string
	walkFiles(reflect.ValueOf(c).Elem(), "", func(path string) { list = append(list, path) })
	list = slices.DeleteFunc(list, func(path string) bool { return path == "" || path == off })
	slices.Sort(list)
	return slices.Compact(list)
}

// walkFiles calls found with every text below a value whose kind is path.
func walkFiles(v reflect.Value, kind string, found func(string)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			walkFiles(v.Elem(), kind, found)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walkFiles(v.Index(i), kind, found)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			walkFiles(v.MapIndex(key), kind, found)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if name, _, _ := strings.Cut(field.Tag.Get("yaml"), ","); field.IsExported() && !slices.Contains(written(), name) {
				walkFiles(v.Field(i), field.Tag.Get("kind"), found)
			}
		}
	case reflect.String:
		if slices.Contains(strings.Split(kind, ","), "path") {
			found(v.String())
		}
	}
}

// written are the keys of what the program writes.
func written() []string { return []string{"storage", "folder", "output", "socket"} }

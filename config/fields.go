package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/sallyport/sallyport/config/secret"
)

// grammar is what is known of a struct type, which is asked for each of
// thousands of sites.
type grammar struct {
	fields []field
	blank  reflect.Value // a value of which nothing is in the file
	toggle int           // index of the field Off, -1 for none
}

func (d *decoder) grammarOf(t reflect.Type) *grammar {
	g, ok := d.known[t]
	if !ok {
		g = &grammar{fields: fieldsOf(t), blank: reflect.New(t).Elem(), toggle: -1}
		for _, f := range g.fields {
			d.fillField(g.blank.FieldByIndex(f.index), f)
		}
		if off, ok := t.FieldByName("Off"); ok && off.Type.Kind() == reflect.Bool {
			g.toggle = off.Index[0]
		}
		if d.known == nil {
			d.known = make(map[reflect.Type]*grammar)
		}
		d.known[t] = g
	}
	return g
}

// fieldsOf is the function of that name, asked once for each type.
func (d *decoder) fieldsOf(t reflect.Type) []field { return d.grammarOf(t).fields }

// field is what the struct tags say about one key.
type field struct {
	index  []int    // for reflect's FieldByIndex: embedded structs lend their keys
	key    string   // `yaml`
	def    string   // `default`: the text that stands in for a missing key
	enum   []string // `enum`: the words allowed, separated by commas
	min    string   // `min`: the least number, size or duration
	path   bool     // `kind:"path"`: a file name, made absolute
	off    bool     // `kind:"off"`: the word off is a value too
	stream bool     // `kind:"stream"`: the words stderr and stdout are, and no file names

	template bool // `kind:"template"`: a text with placeholders, {{ and $path included
	lines    bool // `kind:"lines"`: may have several lines
}

// parseKind reads the `kind` tag: "path", "off", or both with a comma between.
func (f *field) parseKind(tag string) {
	for kind := range strings.SplitSeq(tag, ",") {
		f.path = f.path || kind == "path"
		f.off = f.off || kind == off
		f.stream = f.stream || kind == "stream"
		f.template = f.template || kind == "template"
		f.lines = f.lines || kind == "lines"
	}
}

// fieldsOf returns the keys that a struct type takes, in the order of the type.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		if t.Field(i).Anonymous {
			for _, f := range fieldsOf(t.Field(i).Type) {
				f.index = append([]int{i}, f.index...)
				fields = append(fields, f)
			}
			continue
		}
		tag := t.Field(i).Tag
		key := tag.Get("yaml")
		if key == "" || key == "-" {
			continue
		}
		f := field{index: []int{i}, key: key, def: tag.Get("default"), min: tag.Get("min")}
		f.parseKind(tag.Get("kind"))
		if enum := tag.Get("enum"); enum != "" {
			f.enum = strings.Split(enum, ",")
		}
		fields = append(fields, f)
	}
	return fields
}

// The types that have forms of their own in the file.
var (
	durationType  = reflect.TypeFor[time.Duration]()
	sizeType      = reflect.TypeFor[Size]()
	secretType    = reflect.TypeFor[secret.Text]()
	addressesType = reflect.TypeFor[Addresses]()
	sitesType     = reflect.TypeFor[[]Site]()
	tlsType       = reflect.TypeFor[TLS]()
	upstreamsType = reflect.TypeFor[[]Upstream]()
	serverType    = reflect.TypeFor[Server]()
	siteType      = reflect.TypeFor[Site]()
	textsType     = reflect.TypeFor[Texts]()
	pairsType     = reflect.TypeFor[Pairs]()
	usersType     = reflect.TypeFor[Users]()
	redirectType  = reflect.TypeFor[Redirect]()
	respondType   = reflect.TypeFor[Respond]()
	filesType     = reflect.TypeFor[Files]()
	closedType    = reflect.TypeFor[Maintenance]()
)

// fill makes v a struct of which nothing is in the file.
func (d *decoder) fill(v reflect.Value) { v.Set(d.grammarOf(v.Type()).blank) }

// fillField gives a key that is not in the file its default, which is read as
// if it had been written.
func (d *decoder) fillField(v reflect.Value, f field) {
	switch {
	case v.Type() == addressesType && f.def != "":
		v.Set(reflect.ValueOf(Addresses{f.def}))
	case f.def != "":
		if wrong := d.assign(v, f.def, f); wrong != nil {
			panic(fmt.Sprintf("config: the default of %s: %s", f.key, wrong.message)) // TestDefaults
		}
	case v.Kind() == reflect.Struct && v.Type() != secretType:
		d.fill(v)
	}
}

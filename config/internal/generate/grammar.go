package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// grammar is the configuration language as types.go tells it.
type grammar struct {
	structs map[string]*mapping
	docs    map[string]string // of the types that are no structs
	lists   map[string]string // of the types that are lists, what of
}

// mapping is one struct type: a YAML mapping.
type mapping struct {
	doc    string
	keys   []key
	embeds []string // the structs that lend their keys
	toggle bool     // has a field Off: true and false may stand for it
}

// key is one key of a mapping.
type key struct {
	name   string
	goType string // as it is written: "[]Credential", "time.Duration"
	doc    string
	def    string
	min    string
	enum   []string
	isPath bool
	orOff  bool
	stream bool // the words stderr and stdout too
}

// root is the type of the whole file.
const root = "Config"

// parseGrammar reads the sources of the types.
func parseGrammar(sources ...[]byte) (*grammar, error) {
	g := &grammar{structs: make(map[string]*mapping), docs: make(map[string]string), lists: make(map[string]string)}
	for _, source := range sources {
		if err := g.parse(source); err != nil {
			return nil, err
		}
	}
	if g.structs[root] == nil {
		return nil, fmt.Errorf("types.go has no struct %s", root)
	}
	return g, nil
}

// parse adds the types of one file.
func (g *grammar) parse(source []byte) error {
	file, err := parser.ParseFile(token.NewFileSet(), "types.go", source, parser.ParseComments)
	if err != nil {
		return err
	}
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			spec := spec.(*ast.TypeSpec)
			doc := text(gen.Doc)
			body, ok := spec.Type.(*ast.StructType)
			if !ok {
				g.docs[spec.Name.Name] = doc
				if list, ok := spec.Type.(*ast.ArrayType); ok {
					g.lists[spec.Name.Name] = types.ExprString(list.Elt)
				}
				continue
			}
			keys, err := keysOf(body)
			if err != nil {
				return fmt.Errorf("type %s: %w", spec.Name.Name, err)
			}
			g.structs[spec.Name.Name] = &mapping{doc: doc, keys: keys, embeds: embedsOf(body), toggle: hasOff(body)}
		}
	}
	return nil
}

// embedsOf returns the names of the structs that one embeds.
func embedsOf(body *ast.StructType) []string {
	var names []string
	for _, f := range body.Fields.List {
		if len(f.Names) == 0 {
			names = append(names, types.ExprString(f.Type))
		}
	}
	return names
}

// hasOff reports whether a struct has a field Off.
func hasOff(body *ast.StructType) bool {
	return slices.ContainsFunc(body.Fields.List, func(f *ast.Field) bool {
		return len(f.Names) == 1 && f.Names[0].Name == "Off"
	})
}

// all returns the keys of a mapping, those of what it embeds included.
func (g *grammar) all(m *mapping) []key {
	keys := slices.Clone(m.keys)
	for _, name := range m.embeds {
		keys = append(keys, g.all(g.structs[name])...)
	}
	return keys
}

// keysOf returns the keys of a struct in the order of the source.
func keysOf(body *ast.StructType) ([]key, error) {
	var keys []key
	for _, f := range body.Fields.List {
		if f.Tag == nil {
			continue
		}
		raw, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			return nil, err
		}
		tag := reflect.StructTag(raw)
		k := key{name: tag.Get("yaml"), goType: types.ExprString(f.Type), doc: text(f.Doc), def: tag.Get("default"), min: tag.Get("min")}
		if k.name == "" || k.name == "-" {
			continue
		}
		if k.doc == "" {
			return nil, fmt.Errorf("key %s has no comment", k.name)
		}
		if enum := tag.Get("enum"); enum != "" {
			k.enum = strings.Split(enum, ",")
		}
		kinds := strings.Split(tag.Get("kind"), ",")
		k.isPath, k.orOff = slices.Contains(kinds, "path"), slices.Contains(kinds, "off")
		k.stream = slices.Contains(kinds, "stream")
		keys = append(keys, k)
	}
	return keys, nil
}

// text returns a comment as one paragraph.
func text(doc *ast.CommentGroup) string {
	return strings.Join(strings.Fields(doc.Text()), " ")
}

// item returns the struct that a key holds, alone or in a list, and whether it
// is a list.
func (g *grammar) item(k key) (m *mapping, name string, list bool) {
	name, list = strings.CutPrefix(k.goType, "[]")
	name = strings.TrimPrefix(name, "*")
	if of, ok := g.lists[name]; ok {
		name, list = of, true
	}
	if m = g.structs[name]; m != nil && len(m.keys)+len(m.embeds) == 0 {
		m = nil // a form of its own, like Pairs
	}
	return m, name, list
}

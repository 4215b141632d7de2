package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

const intro = `# Configuration reference

<!-- Written by "go generate ./config" from config/types*.go; change these files. -->

One YAML file says everything. It is strict: an unknown key, a key written twice, a value of the wrong type
is an error that names the line, and all errors are reported at once. Nothing is replaced in it: there are no
variables, no templates, no includes, no anchors, and the environment is never consulted.

- A **duration** is written with its unit: ` + "`500ms`, `30s`, `1m30s`, `24h`" + `.
- A **size** is a number of bytes, or has a unit right after the number: ` + "`64KiB`, `10MiB`, `1GiB`" + `
  (powers of 1024), ` + "`10MB`" + ` (powers of 1000), and ` + "`64k`, `10m`, `1g`" + ` as in nginx (powers of 1024).
- A **path** that does not begin with ` + "`/`" + ` is relative to the folder of the configuration file.
- A **name** may be in any case and in any script; ` + "`\"*.example.com\"`" + ` stands for exactly one label, and needs the quotes.

## Example

` + "```yaml\n"

// reference returns REFERENCE.md.
func (g *grammar) reference(example string) []byte {
	var b bytes.Buffer
	b.WriteString(intro)
	b.WriteString(strings.TrimSpace(example) + "\n```\n")
	b.WriteString("\n## Keys at the top of the file\n")
	g.keys(&b, g.structs[root], "")
	g.sections(&b, g.structs[root], "")
	for _, name := range g.shared() {
		m := g.structs[name]
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", name, wrap(m.doc, ""))
		g.keys(&b, m, "")
		g.sections(&b, m, "")
	}
	return b.Bytes()
}

// shared returns the names of the structs that others embed, sorted.
func (g *grammar) shared() []string {
	var names []string
	for _, m := range g.structs {
		names = append(names, m.embeds...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// sections writes one section for each mapping below m, in the order of the
// types.
func (g *grammar) sections(b *bytes.Buffer, m *mapping, path string) {
	for _, k := range m.keys {
		inner, name, list := g.item(k)
		if inner == nil || slices.Contains(g.shared(), name) {
			continue
		}
		where := pathOf(path, k.name, name, list)
		fmt.Fprintf(b, "\n## `%s`\n\n%s\n", where, wrap(aboutType(name, inner.doc), ""))
		g.keys(b, inner, where)
		g.sections(b, inner, where)
	}
}

// pathOf returns the path of a key's items, as problems print it.
func pathOf(parent, key, typeName string, list bool) string {
	path := key
	if parent != "" {
		path = parent + "." + key
	}
	switch {
	case typeName == "Site", typeName == "Upstream", key == "rate_limits":
		return path + "[NAME]"
	case list:
		return path + "[]"
	}
	return path
}

// aboutType turns a Go comment on a type into a sentence about the file.
func aboutType(name, doc string) string {
	rest, ok := strings.CutPrefix(doc, name+" ")
	if !ok {
		return doc
	}
	for _, verb := range []string{"is ", "says "} {
		if after, ok := strings.CutPrefix(rest, verb); ok {
			rest = after
			break
		}
	}
	return strings.ToUpper(rest[:1]) + rest[1:]
}

// keys writes the list of a mapping's keys.
func (g *grammar) keys(b *bytes.Buffer, m *mapping, path string) {
	for _, k := range m.keys {
		facts := g.typeWords(k)
		if k.min != "" {
			facts += ", at least `" + k.min + "`"
		}
		if k.def != "" {
			facts += ", default `" + k.def + "`"
		}
		fmt.Fprintf(b, "\n- **`%s`**: %s\n\n  %s\n", k.name, facts, wrap(k.doc, "  "))
		if inner, name, list := g.item(k); inner != nil {
			where := pathOf(path, k.name, name, list)
			if slices.Contains(g.shared(), name) {
				where = name
			}
			fmt.Fprintf(b, "  See [`%s`](#%s).\n", where, anchor(where))
		}
	}
	for _, name := range m.embeds {
		var lent []string
		for _, k := range g.all(g.structs[name]) {
			lent = append(lent, "`"+k.name+"`")
		}
		fmt.Fprintf(b, "\n%s\n", wrap("And the keys of ["+name+"](#"+anchor(name)+"): "+strings.Join(lent, ", ")+".", ""))
	}
}

// anchor returns the link target that Markdown makes of a heading.
func anchor(heading string) string {
	return strings.ToLower(strings.NewReplacer(".", "", "[", "", "]", "").Replace(heading))
}

// words says what the value of a Go type is in the file.
var words = map[string]string{
	"string":           "text",
	"bool":             "`true` or `false`",
	"int":              "whole number",
	"float64":          "number",
	"time.Duration":    "duration",
	"Size":             "size",
	"secret.Text":      "secret text",
	"[]string":         "list of texts",
	"[]Site":           "mapping of names to sites",
	"[]Upstream":       "mapping of names to upstreams",
	"[]Server":         "list of addresses or mappings",
	"[]RateLimit":      "mapping of names to rate limits",
	"RateLimits":       "name, mapping, or list of both",
	"CookieRules":      "mapping, or list of mappings",
	"*SecurityHeaders": "`true`, `false`, or a mapping",
	"*CORS":            "`true`, `false`, or a mapping",
	"*Compress":        "`true`, `false`, or a mapping",
	"*BufferRequest":   "`true`, `false`, or a mapping",
	"*Concurrency":     "whole number, or a mapping",
	"*Mirror":          "text, or a mapping",
	"*Size":            "size",
	"*time.Duration":   "duration",
	"*bool":            "`true` or `false`",
	"Texts":            "text, or list of texts",
	"Pairs":            "mapping of names to texts",
	"Users":            "mapping of names to hashes",
	"*BasicAuth":       "mapping, or `off`",
	"*ForwardAuth":     "mapping, or `off`",
	"*JWT":             "mapping, or `off`",
	"*Redirect":        "text, or a mapping",
	"*Files":           "path, or a mapping",
	"*Maintenance":     "path, or a mapping",
	"*Respond":         "status, text, or a mapping",
	"TLS":              "`acme`, `internal`, or a mapping",
	"Addresses":        "address, or list of addresses",
}

// typeWords says in words what a key's value is.
func (g *grammar) typeWords(k key) string {
	switch {
	case k.goType == "[]string" && len(k.enum) > 0:
		return "list of `" + strings.Join(k.enum, "`, `") + "`"
	case len(k.enum) > 0:
		return "`" + strings.Join(k.enum, "`, `") + "`"
	case k.isPath && k.orOff:
		return "path, or `off`"
	case k.isPath && k.stream:
		return "path, `stderr` or `stdout`"
	case k.isPath:
		return "path"
	}
	if k.goType == "Addresses" && k.orOff {
		return "address, list of addresses, or `off`"
	}
	if known, ok := words[k.goType]; ok {
		return known
	}
	inner, _, list := g.item(k)
	switch {
	case list:
		return "list of mappings"
	case inner != nil && inner.toggle:
		return "`true`, `false`, or a mapping"
	}
	return "mapping"
}

// wrap breaks a paragraph into lines, each after the first with the indent.
func wrap(paragraph, indent string) string {
	var b strings.Builder
	column := len(indent)
	for i, word := range strings.Fields(paragraph) {
		switch {
		case i == 0:
		case column+1+len(word) > 110:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

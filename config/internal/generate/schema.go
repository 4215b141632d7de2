package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// object is a JSON object. encoding/json sorts its keys, so that the output is
// the same every time.
type object map[string]any

const (
	durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	sizePattern     = `^[0-9]+(KiB|MiB|GiB|KB|MB|GB|[kmgKMG])?$`
)

// schema returns a JSON Schema (draft 2020-12) of the configuration language.
func (g *grammar) schema() ([]byte, error) {
	defs := object{}
	for name, m := range g.structs {
		if name == root {
			continue
		}
		def, err := g.object(m)
		if err != nil {
			return nil, err
		}
		def["description"] = aboutType(name, m.doc)
		defs[name] = def
	}
	top, err := g.object(g.structs[root])
	if err != nil {
		return nil, err
	}
	top["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	top["title"] = "Sallyport configuration"
	top["required"] = []string{"sites"}
	top["$defs"] = defs

	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(top); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// object returns the schema of a mapping.
func (g *grammar) object(m *mapping) (object, error) {
	properties := object{}
	for _, k := range g.all(m) {
		property, err := g.property(k)
		if err != nil {
			return nil, err
		}
		property["description"] = k.doc
		properties[k.name] = property
	}
	return object{"type": "object", "additionalProperties": false, "properties": properties}, nil
}

// property returns the schema of a key's value.
func (g *grammar) property(k key) (object, error) {
	schema, err := g.value(k)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", k.name, err)
	}
	if k.def != "" {
		schema["default"] = defaultOf(k)
	}
	return schema, nil
}

// value returns the schema of a key's value without its default.
func (g *grammar) value(k key) (object, error) {
	if schema, err := plain(k); schema != nil || err != nil {
		return schema, err
	}
	if schema := g.named(k); schema != nil {
		return schema, nil
	}
	if schema := short(k); schema != nil {
		return schema, nil
	}
	inner, name, list := g.item(k)
	switch {
	case inner == nil:
		return nil, fmt.Errorf("the generator does not know the type %s", k.goType)
	case list:
		return listOf(reference(name)), nil
	case inner.toggle:
		return either(object{"type": "boolean"}, reference(name)), nil
	}
	return reference(name), nil
}

// plain is value for what is written without keys of its own; nil for the rest.
func plain(k key) (object, error) {
	word := freeText()
	if len(k.enum) > 0 {
		word = object{"enum": k.enum}
	}
	switch k.goType {
	case "string", "Issuer":
		if len(k.enum) == 0 && k.orOff {
			return either(word, object{"const": false}), nil
		}
		return word, nil
	case "bool", "*bool":
		return object{"type": "boolean"}, nil
	case "int":
		least, err := strconv.Atoi(k.min)
		if err != nil {
			return nil, fmt.Errorf("a whole number needs a min: %w", err)
		}
		return object{"type": "integer", "minimum": least}, nil
	case "float64":
		return object{"type": "number"}, nil
	case "time.Duration", "*time.Duration":
		return either(object{"type": "string", "pattern": durationPattern}, object{"const": 0}), nil
	case "Size", "*Size":
		return either(object{"type": "string", "pattern": sizePattern}, object{"type": "integer", "minimum": 0}), nil
	case "secret.Text":
		return secretText(), nil
	case "Texts":
		return either(word, listOf(word)), nil
	case "[]string":
		return listOf(word), nil
	case "Addresses":
		forms := []object{freeText(), listOf(freeText())}
		if k.orOff {
			forms = append(forms, object{"const": false})
		}
		return either(forms...), nil
	}
	return nil, nil
}

// named is value for mappings whose keys are names, and lists in which an item
// has a short form; nil for the rest.
func (g *grammar) named(k key) object {
	switch k.goType {
	case "Pairs":
		return object{"type": "object", "additionalProperties": object{"type": []string{"string", "number"}}}
	case "Users":
		return object{"type": "object", "minProperties": 1, "additionalProperties": secretText()}
	case "[]RateLimit":
		return object{"type": "object", "additionalProperties": reference("RateLimit")}
	case "[]Site":
		return object{"type": "object", "minProperties": 1, "additionalProperties": either(freeText(), reference("Site"))}
	case "[]Upstream":
		return object{"type": "object", "additionalProperties": reference("Upstream")}
	case "[]Server":
		servers := listOf(either(freeText(), reference("Server")))
		servers["minItems"] = 1
		return servers
	case "RateLimits":
		return either(freeText(), reference("RateLimit"), listOf(either(freeText(), reference("RateLimit"))))
	case "CookieRules":
		return either(reference("CookieRule"), listOf(reference("CookieRule")))
	case "TLS":
		return either(object{"enum": g.issuers()}, reference("TLS"))
	}
	return nil
}

// short is value for mappings that a text, a number or a switch may stand for;
// nil for the rest.
func short(k key) object {
	whole := reference(strings.TrimPrefix(k.goType, "*"))
	switch k.goType {
	case "*BasicAuth", "*ForwardAuth", "*JWT":
		return either(object{"enum": []any{"off", false}}, whole)
	case "*SecurityHeaders", "*CORS", "*Compress", "*BufferRequest":
		return either(object{"type": "boolean"}, whole)
	case "*Concurrency":
		return either(object{"type": "integer", "minimum": 0}, whole)
	case "*Mirror", "*Redirect", "*Files", "*Maintenance":
		return either(freeText(), whole)
	case "*Respond":
		return either(freeText(), object{"type": "integer", "minimum": 200, "maximum": 599}, whole)
	}
	return nil
}

func freeText() object              { return object{"type": "string", "minLength": 1} }
func secretText() object            { return object{"type": "string", "minLength": 1, "writeOnly": true} }
func listOf(item object) object     { return object{"type": "array", "items": item} }
func either(forms ...object) object { return object{"anyOf": forms} }

// issuers returns the words that may stand for a whole TLS mapping.
func (g *grammar) issuers() []string {
	for _, k := range g.structs["TLS"].keys {
		if k.name == "issuer" {
			return k.enum
		}
	}
	return nil
}

func reference(name string) object { return object{"$ref": "#/$defs/" + name} }

// defaultOf returns a default as JSON has it.
func defaultOf(k key) any {
	switch k.goType {
	case "bool":
		return k.def == "true"
	case "int", "float64":
		return json.Number(strings.TrimSpace(k.def))
	}
	return k.def
}

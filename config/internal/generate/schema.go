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

func (g *grammar) value(k key) (object, error) {
	text := object{"type": "string", "minLength": 1}
	switch k.goType {
	case "string", "Issuer":
		switch {
		case len(k.enum) > 0:
			return object{"enum": k.enum}, nil
		case k.orOff:
			return object{"anyOf": []object{text, {"const": false}}}, nil
		}
		return text, nil
	case "bool":
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
		return object{"anyOf": []object{{"type": "string", "pattern": durationPattern}, {"const": 0}}}, nil
	case "Size", "*Size":
		return object{"anyOf": []object{{"type": "string", "pattern": sizePattern}, {"type": "integer", "minimum": 0}}}, nil
	case "secret.Text":
		return object{"type": "string", "minLength": 1, "writeOnly": true}, nil
	case "*bool":
		return object{"type": "boolean"}, nil
	case "Texts":
		if len(k.enum) > 0 {
			text = object{"enum": k.enum}
		}
		return object{"anyOf": []object{text, {"type": "array", "items": text}}}, nil
	case "Pairs":
		return object{"type": "object", "additionalProperties": object{"type": []string{"string", "number"}}}, nil
	case "Users":
		return object{"type": "object", "minProperties": 1, "additionalProperties": object{"type": "string", "minLength": 1, "writeOnly": true}}, nil
	case "*BasicAuth", "*ForwardAuth", "*JWT":
		return object{"anyOf": []object{{"enum": []any{"off", false}}, reference(strings.TrimPrefix(k.goType, "*"))}}, nil
	case "[]RateLimit":
		return object{"type": "object", "additionalProperties": reference("RateLimit")}, nil
	case "RateLimits":
		one := object{"anyOf": []object{text, reference("RateLimit")}}
		return object{"anyOf": []object{text, reference("RateLimit"), {"type": "array", "items": one}}}, nil
	case "CookieRules":
		return object{"anyOf": []object{reference("CookieRule"), {"type": "array", "items": reference("CookieRule")}}}, nil
	case "*SecurityHeaders", "*CORS", "*Compress", "*BufferRequest":
		return object{"anyOf": []object{{"type": "boolean"}, reference(strings.TrimPrefix(k.goType, "*"))}}, nil
	case "*Concurrency":
		return object{"anyOf": []object{{"type": "integer", "minimum": 0}, reference("Concurrency")}}, nil
	case "*Mirror":
		return object{"anyOf": []object{text, reference("Mirror")}}, nil
	case "*Redirect":
		return object{"anyOf": []object{text, reference("Redirect")}}, nil
	case "*Files":
		return object{"anyOf": []object{text, reference("Files")}}, nil
	case "*Maintenance":
		return object{"anyOf": []object{text, reference("Maintenance")}}, nil
	case "*Respond":
		return object{"anyOf": []object{text, {"type": "integer", "minimum": 200, "maximum": 599}, reference("Respond")}}, nil
	case "[]string":
		if len(k.enum) > 0 {
			text = object{"enum": k.enum}
		}
		return object{"type": "array", "items": text}, nil
	case "Addresses":
		forms := []object{text, {"type": "array", "items": text}}
		if k.orOff {
			forms = append(forms, object{"const": false})
		}
		return object{"anyOf": forms}, nil
	case "[]Site":
		return object{"type": "object", "minProperties": 1, "additionalProperties": object{"anyOf": []object{text, reference("Site")}}}, nil
	case "[]Upstream":
		return object{"type": "object", "additionalProperties": reference("Upstream")}, nil
	case "[]Server":
		return object{"type": "array", "minItems": 1, "items": object{"anyOf": []object{text, reference("Server")}}}, nil
	case "TLS":
		return object{"anyOf": []object{{"enum": g.issuers()}, reference("TLS")}}, nil
	}
	inner, name, list := g.item(k)
	switch {
	case inner == nil:
		return nil, fmt.Errorf("the generator does not know the type %s", k.goType)
	case list:
		return object{"type": "array", "items": reference(name)}, nil
	case inner.toggle:
		return object{"anyOf": []object{{"type": "boolean"}, reference(name)}}, nil
	}
	return reference(name), nil
}

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

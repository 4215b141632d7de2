package config

import _ "embed"

//go:embed schema.json
var schema string

// Schema returns the JSON Schema of the configuration language (draft 2020-12),
// for editors. It is generated from the types and their comments; what the
// schema cannot say, such as that a name belongs to one site, only Load checks.
func Schema() []byte { return []byte(schema) }

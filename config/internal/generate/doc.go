// Command generate writes what people and editors read about the configuration
// language, REFERENCE.md and schema.json, from types.go: the types, their tags
// and their comments.
//
//	go generate ./config
//
// It imports no room, not even config, whose source it reads; it owns the two
// files that it writes, and a test of its own keeps them fresh.
package main

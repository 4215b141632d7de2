package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// run writes the two files into the folder of package config.
func run(dir string) error {
	outputs, err := generate(dir)
	if err != nil {
		return err
	}
	for name, content := range outputs {
		if err := os.WriteFile(dir+"/"+name, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the content of each generated file by its name.
func generate(dir string) (map[string][]byte, error) {
	var sources [][]byte
	names, err := filepath.Glob(filepath.Join(dir, "types*.go"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		source, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		sources = append(sources, source)
	}
	example, err := os.ReadFile(dir + "/testdata/example.yaml")
	if err != nil {
		return nil, err
	}
	grammar, err := parseGrammar(sources...)
	if err != nil {
		return nil, err
	}
	schema, err := grammar.schema()
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"REFERENCE.md": grammar.reference(string(example)),
		"schema.json":  schema,
	}, nil
}

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestGeneratedFilesAreFresh(t *testing.T) {
	outputs, err := generate("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range outputs {
		got, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("config/%s is stale: run go generate ./config", name)
		}
	}
}

func TestEveryKeyNeedsAComment(t *testing.T) {
	_, err := parseGrammar([]byte("package config\ntype Config struct {\n\tA string `yaml:\"a\"`\n}\n"))
	if err == nil || !strings.Contains(err.Error(), "key a has no comment") {
		t.Errorf("got error %v", err)
	}
}

func TestATypeThatTheSchemaDoesNotKnowIsAnError(t *testing.T) {
	g, err := parseGrammar([]byte("package config\ntype Config struct {\n\t// Doc.\n\tA chan int `yaml:\"a\"`\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.schema(); err == nil || !strings.Contains(err.Error(), "key a: the generator does not know the type chan int") {
		t.Errorf("got error %v", err)
	}
}

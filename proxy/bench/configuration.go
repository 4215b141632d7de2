package main

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
)

// templates are the configurations of the proxies. Equivalent is meant to be
// checked by reading them side by side.
//
//go:embed templates
var templates embed.FS

// setup is everything that a configuration depends on.
type setup struct {
	Dir                        string // for the proxy's own files; it is started there
	Address                    string // to listen on
	Port                       string // of Address
	Origin                     string // address of the server behind
	Certificate, Key, Combined string // PEM files
	Hosts                      string // HAProxy's map from names to backends
	Names                      []string
	Workers                    int
	Pool                       int // connections kept to the server behind
	Files                      int // open files that a process may have
	Connections                int // that fit into Files, with one to the server behind for each
	Root                       bool
}

// render fills a template.
func render(name string, s setup) (string, error) {
	parsed, err := template.ParseFS(templates, "templates/"+name)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	if err := parsed.Execute(&text, s); err != nil {
		return "", err
	}
	return text.String(), nil
}

// write writes the configuration of a kind of proxy into the setup's directory.
func (s setup) write(name string) error {
	text, err := render(name, s)
	if err != nil {
		return err
	}
	if name == "haproxy.cfg" {
		var hosts strings.Builder
		for _, host := range s.Names {
			fmt.Fprintf(&hosts, "%s app\n", host)
		}
		if err := os.WriteFile(s.Hosts, []byte(hosts.String()), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600)
}

// openFiles returns how many files a process may have open, within reason.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Max, 65536))
}

package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
)

// Load reads the configuration file at path, decodes it, completes it with
// defaults and validates it. It reads that one file and nothing else: whether
// tokens and certificates are there is asked by whoever uses them.
//
// File names in the configuration are relative to the directory of path; in
// the result they are joined to it.
//
// All problems are returned at once; ask their Err whether the configuration
// may be used. The Config is nil when nothing could be decoded, and incomplete
// when there are problems: good for finding further problems, not for serving.
func Load(path string) (*Config, Problems) {
	content, err := read(path)
	if err != nil {
		problem := Problem{Position: Position{File: path}, Message: err.Error()}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problem.Message, problem.Hint = "the configuration file does not exist", "name another one with --config FILE"
		case errors.Is(err, fs.ErrPermission):
			problem.Message, problem.Hint = "the configuration file may not be read", "give the user that runs sallyport the right to read it"
		}
		return nil, Problems{problem}
	}
	return Parse(path, content)
}

// read returns the content of a file, or one byte more than a configuration
// may have.
func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("this is a directory, not a configuration file")
	}
	content, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("the configuration file cannot be read: %w", err)
	}
	return content, nil
}

// Parse does what Load does with a text that has been read already. The name
// stands in problems, and relative file names are relative to its directory.
func Parse(name string, src []byte) (*Config, Problems) {
	doc := parseDocument(name, src)
	if doc.root == nil {
		return nil, doc.problems
	}
	cfg := new(Config)
	d := &decoder{src: doc.src, dir: filepath.Dir(name), doubtful: make(map[string]bool), problems: doc.problems}
	d.value(doc.root, reflect.ValueOf(cfg).Elem(), slot{})
	cfg.source, cfg.digest = doc.src, sha256.Sum256(src)
	cfg.blank = d.blankUpstream()
	problems := append(d.problems, validate(cfg, d.doubtful)...)

	return cfg, problems.sorted()
}

// Problem returns a problem that a later stage found, at the place of the path
// in the file. Where the path itself is not in the file (a default, a missing
// key), it points at the nearest parent that is. For a Config that was not
// read from a file it has no position.
func (c *Config) Problem(path, message, hint string) Problem {
	if c.source == nil {
		return Problem{Path: path, Message: message, Hint: hint}
	}
	return c.source.problem(c.source.find(path), path, message, hint)
}

// Hash names the text that the configuration was read from: the first 12
// hexadecimal digits of its SHA-256.
func (c *Config) Hash() string { return hex.EncodeToString(c.digest[:6]) }

// File is the path that the configuration was read from, "" if it was not.
func (c *Config) File() string {
	if c.source == nil {
		return ""
	}
	return c.source.file
}

// SocketPath returns the path of the admin socket, "" when it is off.
func (c *Config) SocketPath() string {
	switch c.Admin.Socket {
	case off:
		return ""
	case "":
		return filepath.Join(c.Storage, "sallyport.sock")
	default:
		return c.Admin.Socket
	}
}

// Has reports whether a path, as in Problem, is written in the file.
func (c *Config) Has(path string) bool {
	if c.source == nil {
		return false
	}
	return c.source.has(c.source.asWritten(path))
}

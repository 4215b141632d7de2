package tracing

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"syscall"

	"golang.org/x/net/http/httpguts"
)

// mostFields bounds a file of fields, in bytes.
const mostFields = 64 << 10

var errTooLong = errors.New("more than 64 KiB")

// fields reads the file of fields. Errors never quote it: it holds a key.
func fields(path string) (http.Header, error) {
	h := make(http.Header)
	if path == "" {
		return h, nil
	}
	text, err := private(path)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, mostFields+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, &Error{Err: fmt.Errorf("line %d of %s is not a field", n, path), hint: "write Name: value, one on each line"}
		}
		h.Add(name, value)
	}
	return h, nil
}

// private reads a regular file, unless everybody else can read or write it too.
// Its group may, as with the files of tokens. The open does not block, should
// the file be a pipe.
func private(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, &Error{Err: fmt.Errorf("reading the fields: %w", err), hint: "let sallyport's user read tracing.headers_file"}
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, &Error{Err: fmt.Errorf("reading the fields: %w", err)}
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, &Error{Err: fmt.Errorf("%s is not a regular file", path), hint: "put the fields into a file: it is read again and again"}
	case mode.Perm()&0o006 != 0:
		return nil, &Error{Err: fmt.Errorf("%s is open to every user (mode %04o)", path, mode.Perm()), hint: hintMode}
	}
	text, err := io.ReadAll(io.LimitReader(file, mostFields+1))
	if err == nil && len(text) > mostFields {
		err = errTooLong
	}
	if err != nil {
		if bad, ok := errors.AsType[*fs.PathError](err); ok {
			err = bad.Err // the path is named once
		}
		return nil, &Error{Err: fmt.Errorf("reading the fields from %s: %w", path, err)}
	}
	return text, nil
}

const hintMode = "it holds a key: chmod 600 it (Kubernetes secrets: defaultMode: 0400; Docker swarm secrets: mode: 0400)"

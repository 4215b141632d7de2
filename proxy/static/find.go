package static

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Found is what a request leads to: an open file or folder.
type Found struct {
	// Name is its path below the root, with slashes; "." is the root.
	Name string

	file   *os.File
	info   fs.FileInfo
	folder bool // to be listed
	bare   bool // is in a folder which was asked for without the slash at the end
}

// Close closes the file.
func (f *Found) Close() { _ = f.file.Close() }

// Bare reports whether it is a folder, or a folder's index, that was asked for
// without the slash at the end.
func (f *Found) Bare() bool { return f.bare }

// Listing reports whether it is a folder to be listed.
func (f *Found) Listing() bool { return f.folder }

// try is one way to read a request's path.
type try struct {
	fixed  string // a name below the root, or
	suffix string // what is put behind the path
	folder bool   // the path is that of a folder
}

const pathWord = "$path"

func parseTry(text string) (try, error) {
	if after, ok := strings.CutPrefix(text, pathWord); ok {
		if strings.ContainsAny(after, "$") || strings.Contains(strings.TrimSuffix(after, "/"), "/") {
			return try{}, fmt.Errorf("try %q: only an ending or a slash may follow $path", text)
		}
		suffix, folder := strings.CutSuffix(after, "/")
		return try{suffix: suffix, folder: folder}, nil
	}
	name, rooted := strings.CutPrefix(text, "/")
	name, folder := strings.CutSuffix(name, "/")
	if folder && name == "" || rooted && text == "/" {
		name, folder = ".", true
	}
	if !rooted || !fs.ValidPath(name) || strings.Contains(name, "$") {
		return try{}, fmt.Errorf("try %q: neither $path nor a path that begins with a slash", text)
	}
	return try{fixed: name, folder: folder}, nil
}

// Name returns the name below the root that a request's path stands for, and
// whether it ends with a slash. A path that no file can have, or that another
// part of the system might read differently, is an error: an encoded slash, a
// backslash, a NUL, empty and dot segments.
func Name(r *http.Request) (name string, slash bool, err error) {
	p := r.URL.Path
	if p == "" || p[0] != '/' || strings.ContainsAny(p, "\x00\\") {
		return "", false, errName
	}
	if raw := r.URL.RawPath; raw != "" && (strings.Contains(raw, "%2F") || strings.Contains(raw, "%2f")) {
		return "", false, errName
	}
	name = p[1:]
	if name == "" {
		return ".", true, nil
	}
	name, slash = strings.CutSuffix(name, "/")
	if !fs.ValidPath(name) || name == "." {
		return "", false, errName
	}
	return name, slash, nil
}

// Find opens what a request leads to, trying what is to be tried. The caller
// closes it. The error is to be given to [exchange.Refuse].
func (f *Files) Find(r *http.Request) (*Found, error) { return f.look(r, nil) }

// note hears of each name that was looked for and is not what is served, and
// why. Nil hears nothing.
type note func(name, why string)

func (n note) of(name string, err error) {
	if n == nil {
		return
	}
	why := err.Error()
	if known, ok := errors.AsType[*exchange.Refusal](err); ok {
		why = known.Reason
	}
	n(name, why)
}

func (f *Files) look(r *http.Request, n note) (*Found, error) {
	name, slash, err := Name(r)
	if err != nil {
		return nil, err
	}
	var first error
	for _, t := range f.tries {
		at := name
		switch {
		case t.fixed != "":
			at = t.fixed
		case slash && !t.folder, t.suffix != "" && name == ".":
			continue // a file has no slash at its end
		default:
			at += t.suffix
		}
		found, err := f.find(at, t.folder, n)
		if err == nil {
			found.bare = found.bare && !slash && t.fixed == ""
			return found, nil
		}
		if first == nil || errors.Is(first, errAbsent) {
			first = err
		}
	}
	if first == nil {
		first = errAbsent
	}
	return nil, first
}

// find opens a file, or a folder's index, or a folder that is to be listed.
func (f *Files) find(name string, folder bool, n note) (*Found, error) {
	if f.hidden(name) {
		n.of(name, errHidden)
		return nil, errHidden
	}
	if !folder {
		found, err := f.open(name)
		if err == nil && found.info.IsDir() {
			found.Close()
			n.of(name, errFolder)
			return nil, errAbsent
		}
		if err != nil {
			n.of(name, err)
		}
		return found, err
	}
	// Where the index is there, as it mostly is, the folder need not be opened.
	for _, index := range f.options.Index {
		at := path.Join(name, index)
		if f.hidden(at) {
			n.of(at, errHidden)
			continue
		}
		found, err := f.open(at)
		switch {
		case err == nil && !found.info.IsDir():
			found.bare = true
			return found, nil
		case err == nil:
			found.Close()
			n.of(at, errFolder)
		case !errors.Is(err, errAbsent):
			n.of(at, err)
			return nil, err
		default:
			n.of(at, err)
		}
	}
	if !f.options.Browse {
		if n != nil && f.isFolder(name) {
			n.of(name+"/", errNoIndex)
		}
		return nil, errAbsent
	}
	found, err := f.open(name)
	if err == nil && !found.info.IsDir() {
		found.Close()
		n.of(name+"/", errNoFolder)
		return nil, errAbsent
	}
	if err != nil {
		n.of(name+"/", err)
	}
	if err == nil {
		found.folder, found.bare = true, true
	}
	return found, err
}

// open opens a file or a folder.
func (f *Files) open(name string) (*Found, error) {
	file, info, err := f.folder.open(name)
	if err != nil {
		return nil, refusal(err)
	}
	if mode := info.Mode(); !mode.IsRegular() && !mode.IsDir() {
		_ = file.Close()
		return nil, errKind
	}
	return &Found{Name: name, file: file, info: info}, nil
}

// IsFile reports whether a name below the root is a regular file that may be
// seen.
func (f *Files) IsFile(name string) bool {
	if !fs.ValidPath(name) || f.hidden(name) {
		return false
	}
	info, err := f.folder.stat(name)
	return err == nil && info.Mode().IsRegular()
}

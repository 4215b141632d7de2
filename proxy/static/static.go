package static

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// Options is what shapes a Files.
type Options struct {
	// Root is the folder: an absolute path. It need not be there yet; while
	// it is not, requests fail with 500.
	Root string

	// Index are the names that stand for a folder, the first that exists.
	// Empty: index.html.
	Index []string

	// Try is what a request is tried as, in order: "$path" is the file of that
	// name, "$path/" the folder with an index (or a listing), "$path.html" the
	// file with an ending added, "/index.html" a fixed file. If none exists the
	// answer is 404. Empty: "$path", "$path/".
	Try []string

	// Browse lists folders that have no index.
	Browse bool

	// Precompressed are the encodings (br, zstd, gzip) of which files lie
	// beside the plain ones, as app.js.br, app.js.zst, app.js.gz. The client's
	// preference counts, then this order.
	Precompressed []string

	// Hidden are patterns (of path.Match) of names that are not served and not
	// listed. A folder that is hidden hides what is in it. The folder
	// .well-known at the top is never hidden. Empty: nothing is hidden.
	Hidden []string

	// CacheControl is sent as Cache-Control with every file, if not empty.
	CacheControl string
}

// Key identifies what a Files with these options does: a reload that finds the
// same key keeps it.
func (o Options) Key() string { return fmt.Sprintf("%#v", o) }

// Files serves a folder. It may be used by many goroutines.
type Files struct {
	options Options
	tries   []try
	folder  folder
	buffers sync.Pool // of *[copySize]byte
	listing string    // the Content-Security-Policy of listings
}

// Refusals. What is not there, what is hidden and what leads outside look the
// same to a client.
var (
	errMethod    = &exchange.Refusal{Status: http.StatusMethodNotAllowed, Label: "method_not_allowed", Reason: "a file can only be read"}
	errUpgrade   = &exchange.Refusal{Status: http.StatusNotImplemented, Label: "upgrade_refused", Reason: "a file speaks no other protocol"}
	errName      = &exchange.Refusal{Status: http.StatusNotFound, Label: "file_name", Reason: "the path cannot be the name of a file"}
	errAbsent    = &exchange.Refusal{Status: http.StatusNotFound, Label: "file_not_found", Reason: "there is no such file"}
	errHidden    = &exchange.Refusal{Status: http.StatusNotFound, Label: "file_hidden", Reason: "the file is hidden", Hint: "files.hidden says which names are not served"}
	errOutside   = &exchange.Refusal{Status: http.StatusNotFound, Label: "file_outside", Reason: "a symbolic link leads out of the folder", Hint: "links must be relative and stay below files.root"}
	errKind      = &exchange.Refusal{Status: http.StatusNotFound, Label: "file_kind", Reason: "this is neither a file nor a folder"}
	errForbidden = &exchange.Refusal{Status: http.StatusForbidden, Label: "file_forbidden", Reason: "the file may not be read", Hint: "sallyport's user needs the right to read the file and to enter its folders"}
	errBusy      = &exchange.Refusal{Status: http.StatusServiceUnavailable, Label: "files_busy", Reason: "too many files are open", Hint: "raise the limit of open files (LimitNOFILE, ulimit -n)"}
	errRoot      = &exchange.Refusal{Status: http.StatusInternalServerError, Label: "files_root", Reason: "the folder of the files cannot be opened", Hint: "does files.root exist, is it mounted here, and may sallyport's user enter it?"}
	errReading   = &exchange.Refusal{Status: http.StatusInternalServerError, Label: "file_failed", Reason: "the file cannot be read"}
	errChanged   = &exchange.Refusal{Status: http.StatusPreconditionFailed, Label: "precondition_failed", Reason: "the file is not what the client has"}
	errRange     = &exchange.Refusal{Status: http.StatusRequestedRangeNotSatisfiable, Label: "range_invalid", Reason: "the file has no such range"}
)

// New checks the options. It opens nothing.
func New(o Options) (*Files, error) {
	if !filepath.IsAbs(o.Root) {
		return nil, fmt.Errorf("root %q: not an absolute path", o.Root)
	}
	if len(o.Index) == 0 {
		o.Index = []string{"index.html"}
	}
	for _, name := range o.Index {
		if !fs.ValidPath(name) || name == "." {
			return nil, fmt.Errorf("index %q: not the name of a file", name)
		}
	}
	for _, pattern := range o.Hidden {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return nil, fmt.Errorf("hidden %q: not a pattern", pattern)
		}
	}
	for _, name := range o.Precompressed {
		if suffix(name) == "" {
			return nil, fmt.Errorf("precompressed %q: unknown encoding", name)
		}
	}
	f := &Files{options: o, folder: folder{path: o.Root}, listing: listPolicy()}
	if len(o.Try) == 0 {
		o.Try = []string{"$path", "$path/"}
	}
	for _, text := range o.Try {
		t, err := parseTry(text)
		if err != nil {
			return nil, err
		}
		f.tries = append(f.tries, t)
	}
	return f, nil
}

// Check reports whether the folder can be opened now.
func (f *Files) Check() error {
	_, err := f.folder.stat(".")
	return err
}

// Close gives the folder's handle back. Requests under way end well.
func (f *Files) Close() { f.folder.close() }

// ServeHTTP answers with a file, a listing, or a redirect to a folder.
func (f *Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, err := f.Find(r)
	if err != nil {
		exchange.Refuse(w, r, err)
		return
	}
	defer found.Close()
	f.Serve(w, r, found)
}

// Serve answers with what was found.
func (f *Files) Serve(w http.ResponseWriter, r *http.Request, found *Found) {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		exchange.Refuse(w, r, errMethod)
	case r.ProtoMajor > 1 && len(r.Header["Upgrade"]) > 0:
		exchange.Refuse(w, r, errUpgrade) // a 2xx would open a tunnel (RFC 8441 section 4)
	case found.bare && f.ToSlash(w, r):
	case found.folder:
		f.list(w, r, found)
	default:
		f.send(w, r, found)
	}
}

// ToSlash sends a client that asked for a folder without the slash to the
// address with it, so that relative links on its pages work. It reports false
// when that would not help, because the path was rewritten: the client's own is
// another.
//
// The reference is relative and of one segment, so it cannot name another
// host, whatever the path begins with.
func (f *Files) ToSlash(w http.ResponseWriter, r *http.Request) bool {
	asked, query, has := strings.Cut(exchange.Of(r).Target, "?")
	last := asked[strings.LastIndexByte(asked, '/')+1:]
	if last == "" || last != path.Base(r.URL.EscapedPath()) {
		return false
	}
	to := "./" + last + "/" // "./", for a name with a colon would be a scheme
	if has {
		to += "?" + query
	}
	h := w.Header()
	h.Set("Location", to)
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusMovedPermanently)
	return true
}

// hidden reports whether a name within the folder may not be seen.
func (f *Files) hidden(name string) bool {
	if len(f.options.Hidden) == 0 || name == "." {
		return false
	}
	first := true
	for segment := range strings.SplitSeq(name, "/") {
		if !(first && segment == ".well-known") && f.hides(segment) {
			return true
		}
		first = false
	}
	return false
}

func (f *Files) hides(segment string) bool {
	return slices.ContainsFunc(f.options.Hidden, func(pattern string) bool {
		if pattern == ".*" {
			return segment[0] == '.'
		}
		hit, _ := path.Match(pattern, segment)
		return hit
	})
}

// refusal says how an error of the file system is answered.
func refusal(err error) error {
	if _, ok := errors.AsType[*exchange.Refusal](err); ok {
		return err
	}
	class := cmp.Or(classify(err), errReading)
	if class == errAbsent {
		return errAbsent // the common one: no need to say more
	}
	return fmt.Errorf("%w: %w", class, err)
}

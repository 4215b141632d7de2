package static

import (
	"errors"
	"net/http"
	"path"
)

// What a trace says besides the refusals.
var (
	errFolder   = errors.New("this is a folder, and a file is looked for")
	errNoFolder = errors.New("this is a file, and a folder is looked for")
	errNoIndex  = errors.New("the folder has none of the files in files.index, and files.browse is off")
)

// Miss is a name below the root that was looked for and is not what is served.
type Miss struct{ Name, Why string }

// Trace says how a request's path is looked for.
type Trace struct {
	// Name is what is served: a path below the root with slashes, with one at
	// the end if it is a folder's listing. Empty: nothing is.
	Name string

	// Coding is the encoding of the file beside that one which is sent in its
	// place, and File that file's name; Coding is empty and File is Name if none
	// is.
	Coding, File string

	// Misses were looked for before, in order.
	Misses []Miss

	// Err is why nothing is served; see [exchange.Refuse].
	Err error
}

// Trace finds what a request leads to as [Files.ServeHTTP] does, and answers
// nobody. Conditions, ranges and the method are not looked at.
func (f *Files) Trace(r *http.Request) Trace {
	var t Trace
	found, err := f.look(r, func(name, why string) { t.Misses = append(t.Misses, Miss{name, why}) })
	if err != nil {
		t.Err = err
		return t
	}
	defer found.Close()
	if found.folder {
		t.Name = path.Clean(found.Name) + "/"
		t.File = t.Name
		return t
	}
	t.Name, t.File = found.Name, found.Name
	if smaller, coding := f.precompressed(r, found.Name); smaller != nil {
		smaller.Close()
		t.Coding, t.File = coding, smaller.Name
	}
	return t
}

func (f *Files) isFolder(name string) bool {
	info, err := f.folder.stat(name)
	return err == nil && info.IsDir()
}

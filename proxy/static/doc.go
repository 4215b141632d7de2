// Package static answers requests with files of a folder.
//
// [Files] finds the file that a request means and sends it, whole or in part,
// with the validators that caches need. It never leaves its folder: names are
// opened through [os.Root], so that neither ".." nor a symbolic link leads out.
// What is not a regular file (a device, a pipe) is never read, and opening one
// never waits. Hidden names, by default those that begin with a dot, are
// treated as if they were not there.
//
// The package imports neither config nor any room but exchange, through which
// it refuses. It reads no file of the system: which extension is of which type
// is compiled in. A Files owns one handle, that of its folder; it is opened
// when it is first needed, looked after at most once a second (so a symbolic
// link like "current" may be switched to another release), and closed by Close.
// It has no goroutines.
//
//	files, err := static.New(static.Options{
//		Root:  "/srv/www",
//		Index: []string{"index.html"},
//		Try:   []string{"$path", "$path/", "/index.html"}, // a single-page application
//	})
//	if err != nil {
//		return err
//	}
//	defer files.Close()
//	http.Handle("/", files)
package static

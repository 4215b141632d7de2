package static

import (
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// mostRanges is how many ranges one request may ask for. More are not worth
// answering: the whole file is sent, as RFC 9110 section 14.2 allows.
const mostRanges = 16

// copySize is how much of a file is held at a time.
const copySize = 32 << 10

// settled is the age from which on a file's modification time tells versions
// apart: within it the file may be changed again without showing (RFC 9110
// section 8.8.2.2).
const settled = 2 * time.Second

// send answers with a file. Conditions and ranges are net/http's work.
func (f *Files) send(w http.ResponseWriter, r *http.Request, found *Found) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", ContentType(found.Name))
	if f.options.CacheControl != "" {
		h.Set("Cache-Control", f.options.CacheControl)
	}
	coding := ""
	if len(f.options.Precompressed) > 0 {
		h.Add("Vary", "Accept-Encoding")
		if smaller, name := f.precompressed(r, found.Name); smaller != nil {
			defer smaller.Close()
			found, coding = smaller, name
			h.Set("Content-Encoding", name)
		}
	}
	modified := found.info.ModTime()
	if modified.Unix() <= 1 {
		modified = time.Time{} // an image built to be reproducible: it says nothing
	} else {
		h.Set("Etag", etag(found.info, coding, time.Now()))
	}
	if tooManyRanges(r.Header["Range"]) {
		r = withoutRange(r)
	}
	out := &sender{ResponseWriter: w, files: f, size: found.info.Size()}
	content := io.NewSectionReader(found.file, 0, found.info.Size())
	http.ServeContent(out, r, "", modified, content)
	switch {
	case out.refused != nil:
		exchange.Refuse(w, r, out.refused)
	case out.short:
		panic(http.ErrAbortHandler) // the client must see that something is missing
	}
}

// etag tells versions of a file apart. It is weak while the file is so new that
// a change might not show.
func etag(info fs.FileInfo, coding string, now time.Time) string {
	var buffer [64]byte
	tag := buffer[:0]
	if now.Sub(info.ModTime()) < settled {
		tag = append(tag, "W/"...)
	}
	tag = append(tag, '"')
	tag = strconv.AppendInt(tag, info.ModTime().UnixNano(), 36)
	tag = append(tag, '-')
	tag = strconv.AppendInt(tag, info.Size(), 36)
	if coding != "" {
		tag = append(append(tag, '-'), coding...)
	}
	return string(append(tag, '"'))
}

func tooManyRanges(ranges []string) bool {
	commas := 0
	for _, list := range ranges {
		commas += strings.Count(list, ",")
	}
	return commas >= mostRanges
}

func withoutRange(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Del("Range")
	return r
}

// sender is the writer that net/http gets. It announces the length of encoded
// files too, takes the refusals over, and notices when a file has become
// shorter.
type sender struct {
	http.ResponseWriter
	files   *Files
	size    int64
	refused error
	short   bool
}

// Unwrap is for [http.ResponseController].
func (s *sender) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *sender) WriteHeader(status int) {
	h := s.Header()
	switch status {
	case http.StatusPreconditionFailed:
		s.refused = errChanged
	case http.StatusRequestedRangeNotSatisfiable:
		s.refused = errRange
	case http.StatusOK:
		h.Set("Content-Length", strconv.FormatInt(s.size, 10))
	case http.StatusPartialContent, http.StatusNotModified:
	default:
		s.refused = errReading
	}
	if s.refused == nil {
		s.ResponseWriter.WriteHeader(status)
		return
	}
	for _, name := range []string{"Accept-Ranges", "Cache-Control", "Content-Encoding", "Content-Length", "Content-Type", "Etag", "Last-Modified"} {
		delete(h, name)
	}
}

func (s *sender) Write(p []byte) (int, error) {
	if s.refused != nil {
		return len(p), nil // net/http's own words
	}
	return s.ResponseWriter.Write(p)
}

// ReadFrom copies a file, or the part of it that net/http limits src to.
func (s *sender) ReadFrom(src io.Reader) (int64, error) {
	limited, ok := src.(*io.LimitedReader)
	if s.refused != nil || !ok {
		return io.Copy(struct{ io.Writer }{s}, src)
	}
	want := limited.N
	buffer, _ := s.files.buffers.Get().(*[copySize]byte)
	if buffer == nil {
		buffer = new([copySize]byte)
	}
	defer s.files.buffers.Put(buffer)
	n, err := io.CopyBuffer(struct{ io.Writer }{s.ResponseWriter}, struct{ io.Reader }{src}, buffer[:])
	s.short = n < want
	return n, err
}

// precompressed opens the variant of a file that the client likes best, if it
// likes one at least as much as the plain file.
func (f *Files) precompressed(r *http.Request, name string) (*Found, string) {
	accept := r.Header["Accept-Encoding"]
	if len(accept) == 0 {
		return nil, ""
	}
	var tried [3]bool
	for range f.options.Precompressed {
		best, most := -1, max(quality(accept, "identity"), 1)
		for i, coding := range f.options.Precompressed {
			if q := quality(accept, coding); !tried[i] && (q > most || q == most && best < 0) {
				best, most = i, q
			}
		}
		if best < 0 {
			return nil, ""
		}
		tried[best] = true
		coding := f.options.Precompressed[best]
		if found, err := f.open(name + suffix(coding)); err == nil {
			if found.info.Mode().IsRegular() {
				return found, coding
			}
			found.Close()
		}
	}
	return nil, ""
}

// suffix is what the name of a file in an encoding ends with.
func suffix(coding string) string {
	switch coding {
	case "br":
		return ".br"
	case "zstd":
		return ".zst"
	case "gzip":
		return ".gz"
	}
	return ""
}

// quality returns what a client thinks of a coding, in thousandths (RFC 9110
// section 12.5.3). 0 is that it must not be used. The plain file, if the client
// does not name it, is as good as the worst.
func quality(accept []string, coding string) int {
	any := -1
	for _, list := range accept {
		for item := range strings.SplitSeq(list, ",") {
			name, parameters, _ := strings.Cut(item, ";")
			name = strings.TrimSpace(name)
			switch {
			case strings.EqualFold(name, coding), coding == "gzip" && strings.EqualFold(name, "x-gzip"):
				return weight(parameters)
			case name == "*" && coding != "identity":
				any = weight(parameters)
			}
		}
	}
	return max(any, 0)
}

// weight reads ";q=0.5". A weight that is none counts as 0: the coding is not
// used.
func weight(parameters string) int {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return int(q * 1000)
	}
	return 1000
}

// ContentType returns the type of a file by its name. What is not known is
// application/octet-stream, which browsers save and never run. Text is taken to
// be UTF-8.
func ContentType(name string) string {
	ending := path.Ext(name)
	if len(ending) < 2 || len(ending) > 12 {
		return unknownType
	}
	if kind, ok := contentTypes[ending[1:]]; ok {
		return kind
	}
	if kind, ok := contentTypes[strings.ToLower(ending[1:])]; ok {
		return kind
	}
	return unknownType
}

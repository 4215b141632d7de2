package static

import (
	"cmp"
	"crypto/sha256"
	_ "embed" // for the style of listings
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// mostListed bounds a listing. A folder with more says that it has.
const mostListed = 5000

//go:embed list.css
var listStyle string

//go:embed list.html
var listHTML string

// listPage is the page of a listing.
var listPage = template.Must(template.New("listing").Parse(listHTML))

// listPolicy lets a listing load nothing and run nothing: only its own style.
func listPolicy() string {
	sum := sha256.Sum256([]byte(listStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
}

// listing is what the page shows.
type listing struct {
	Path    string
	Style   template.CSS
	Crumbs  []crumb
	Columns []column
	Parent  bool
	Rows    template.HTML
	Folders int
	Files   int
	More    bool
}

// crumb is a folder on the way to this one.
type crumb struct {
	Name, Link string
	Here       bool
}

// column is a heading that sorts.
type column struct {
	Name, Class, Link string
	Sort              string // ascending, descending or ""
	Mark              string
}

// entry is a line of a listing.
type entry struct {
	name     string
	folder   bool
	size     int64
	modified time.Time
}

// list answers with what is in a folder.
func (f *Files) list(w http.ResponseWriter, r *http.Request, found *Found) {
	entries, more, err := f.entries(found)
	if err != nil {
		exchange.Refuse(w, r, refusal(err))
		return
	}
	by, down := order(r.URL.Query())
	slices.SortStableFunc(entries, func(a, b entry) int { return compare(a, b, by, down) })
	page := listing{
		Path:    r.URL.Path,
		Style:   template.CSS(listStyle),
		Crumbs:  crumbs(r.URL.Path),
		Columns: columns(by, down),
		Parent:  found.Name != ".",
		Rows:    rows(entries),
		More:    more,
	}
	for _, e := range entries {
		if e.folder {
			page.Folders++
		} else {
			page.Files++
		}
	}
	var text strings.Builder
	if err := listPage.Execute(&text, page); err != nil {
		exchange.Refuse(w, r, fmt.Errorf("listing %s: %w", found.Name, err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(text.Len()))
	h.Set("Content-Security-Policy", f.listing)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, text.String()) // a client that left is no failure
	}
}

// entries reads a folder. What a request for it would not be served is left out.
func (f *Files) entries(found *Found) (entries []entry, more bool, err error) {
	list, err := found.file.ReadDir(mostListed + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if len(list) > mostListed {
		list, more = list[:mostListed], true
	}
	for _, item := range list {
		name := path.Join(found.Name, item.Name())
		if f.hidden(name) || strings.ContainsAny(item.Name(), "\\") {
			continue
		}
		info, err := item.Info()
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			info, err = f.folder.stat(name) // an error, if it leads out
		}
		if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
			continue
		}
		entries = append(entries, entry{item.Name(), info.IsDir(), info.Size(), info.ModTime().UTC()})
	}
	return entries, more, nil
}

// rows is the body of the table. It is not made by the template because a
// folder may have thousands of entries, and a template takes ten times as long.
// Every name goes through an escape.
func rows(entries []entry) template.HTML {
	if len(entries) == 0 {
		return `<tr><td class="empty" colspan="3">This folder is empty.</td></tr>`
	}
	b := make([]byte, 0, 320*len(entries))
	for _, e := range entries {
		icon, slash, shown := "file", "", ""
		if e.folder {
			icon, slash, shown = "folder", "/", `<span class="slash">/</span>`
		}
		b = append(b, `<tr><td class="name"><a href="./`...)
		b = append(b, html.EscapeString(url.PathEscape(e.name))...)
		b = append(b, slash...)
		b = append(b, `"><span class="icon `...)
		b = append(b, icon...)
		b = append(b, `" aria-hidden="true"></span><span>`...)
		b = append(b, html.EscapeString(e.name)...)
		b = append(b, shown...)
		b = append(b, `</span></a></td><td class="size">`...)
		if !e.folder {
			b = append(b, `<span title="`...)
			b = strconv.AppendInt(b, e.size, 10)
			b = append(b, ` bytes">`...)
			b = append(b, humanSize(e.size)...)
			b = append(b, `</span>`...)
		}
		b = append(b, `</td><td class="date"><time datetime="`...)
		b = e.modified.AppendFormat(b, time.RFC3339)
		b = append(b, `" title="`...)
		b = e.modified.AppendFormat(b, dateForm)
		b = append(b, ` UTC">`...)
		b = e.modified.AppendFormat(b, dateForm)
		b = append(b, "</time></td></tr>\n"...)
	}
	return template.HTML(b)
}

const dateForm = "2006-01-02 15:04"

// order reads how a listing is to be sorted. What it does not know it ignores.
func order(query url.Values) (by string, down bool) {
	by = query.Get("sort")
	if by != "size" && by != "date" {
		by = "name"
	}
	return by, query.Get("order") == "desc"
}

// compare puts folders first, whatever the order.
func compare(a, b entry, by string, down bool) int {
	if a.folder != b.folder {
		if a.folder {
			return -1
		}
		return 1
	}
	result := 0
	switch by {
	case "size":
		result = cmp.Compare(a.size, b.size)
	case "date":
		result = a.modified.Compare(b.modified)
	}
	if result == 0 {
		result = cmp.Or(strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name)), strings.Compare(a.name, b.name))
	}
	if down {
		return -result
	}
	return result
}

func columns(by string, down bool) []column {
	list := []column{{Name: "Name", Class: "name"}, {Name: "Size", Class: "size"}, {Name: "Date", Class: "date"}}
	for i := range list {
		c := &list[i]
		c.Link = "?sort=" + c.Class
		switch {
		case c.Class != by:
		case down:
			c.Sort, c.Mark = "descending", "▼"
		default:
			c.Sort, c.Mark = "ascending", "▲"
			c.Link += "&order=desc"
		}
	}
	return list
}

// crumbs are links to the folders above, relative, so that they also hold
// where a prefix was stripped.
func crumbs(at string) []crumb {
	names := strings.Split(strings.Trim(at, "/"), "/")
	if names[0] == "" {
		return nil
	}
	var list []crumb
	for i, name := range names {
		up := len(names) - 1 - i
		list = append(list, crumb{Name: name, Link: "./" + strings.Repeat("../", up), Here: up == 0})
	}
	return list
}

// humanSize is a size as people read it, in powers of 1024.
func humanSize(n int64) string {
	if n < 1<<10 {
		return strconv.FormatInt(n, 10) + " B"
	}
	value, unit := float64(n), 0
	for value >= 1024 && unit < 5 {
		value /= 1024
		unit++
	}
	digits := 1
	if value >= 100 {
		digits = 0
	}
	return strconv.FormatFloat(value, 'f', digits, 64) + " " + string("KMGTP"[unit-1]) + "iB"
}

package target

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestNormalFormKeepsEverythingButDotSegments(t *testing.T) {
	for in, want := range map[string]string{
		"/": "/", "/a/b": "/a/b", "/a//b": "/a//b", "//": "//", "//a": "//a", "/%7e%7E": "/%7e%7E", "/a%2Fb": "/a%2Fb", "/a%5cb": "/a%5cb",
		"/a;b=c/d": "/a;b=c/d", "/\xc3\xa4|\"": "/\xc3\xa4|\"", "/...": "/...", "/.a": "/.a", "/a.": "/a.", "/..a/b..": "/..a/b..", "/%25%32%65": "/%25%32%65",
		"/.": "/", "/./": "/", "/a/.": "/a/", "/a/./b": "/a/b", "/a/..": "/", "/a/b/..": "/a/", "/a/../b": "/b", "/a/b/../../c": "/c",
		"/a/%2e/b": "/a/b", "/a/%2E%2e/b": "/b", "/a/.%2e/b": "/b", "/a//../b": "/a/b", "/a/..//b": "//b", "/a/%2e%2e": "/",
	} {
		got, err := Normalize(in, false)
		if err != nil || got != want {
			t.Errorf("%q became %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestWhatIsReadInTwoWaysIsRefused(t *testing.T) {
	for in, want := range map[string]error{
		"/..": ErrRoot, "/../": ErrRoot, "/../a": ErrRoot, "/a/../..": ErrRoot, "/%2e%2e/a": ErrRoot, "/a/../../b": ErrRoot, "/./..": ErrRoot,
		"/%": ErrEscape, "/%2": ErrEscape, "/%zz": ErrEscape, "/a%2": ErrEscape, "/%u002e": ErrEscape, "/a%00b": ErrEscape, "/%00": ErrEscape,
		"/..%2fa": ErrDots, "/a/..%2Fb": ErrDots, "/a%2f../b": ErrDots, "/a%2f..": ErrDots, `/..\a`: ErrDots, "/a/..%5cb": ErrDots, "/a%5C.%5Cb": ErrDots,
		"/..;/a": ErrDots, "/..;x=y/a": ErrDots, "/.;/a": ErrDots, "/a/%2e%2e;/b": ErrDots, "/a%2f..;x": ErrDots, "/a;x%2f..": ErrDots, "/%2e%2e%3b/a": ErrDots,
	} {
		if got, err := Normalize(in, false); !errors.Is(err, want) {
			t.Errorf("%q became %q, %v; want %v", in, got, err, want)
		}
	}
}

func TestSlashesAreMergedWhenAsked(t *testing.T) {
	for in, want := range map[string]string{"//": "/", "//a///b/": "/a/b/", "/a/..//b": "/b", "/a//../b": "/b", "/%2f/": "/%2f/"} {
		if got, err := Normalize(in, true); err != nil || got != want {
			t.Errorf("%q became %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestCanonicalFormIsTheSameForEverySpelling(t *testing.T) {
	for in, want := range map[string]string{
		"/%61dmin": "/admin", "/admin": "/admin", "/a%2fb": "/a%2Fb", "/a%2Fb": "/a%2Fb", "/%2561": "/%2561", "/a%20b": "/a b", "/%c3%a4": "/ä", "/a%3bb": "/a;b",
	} {
		if got := Canonical(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestReadings(t *testing.T) {
	for _, c := range []struct {
		in     string
		habits Habits
		want   []string
	}{
		{"/a", Habits{}, []string{"/a"}},
		{"/%61", Habits{}, []string{"/a"}},
		{"/admin;x/y", Habits{}, []string{"/admin;x/y", "/admin/y"}},
		{"/admin;x/y", Habits{Parameters: Special}, []string{"/admin/y"}},
		{"/admin;x/y", Habits{Parameters: Keep}, []string{"/admin;x/y"}},
		{"//admin", Habits{}, []string{"//admin", "/admin"}},
		{"/;x/admin", Habits{Parameters: Special}, []string{"//admin", "/admin"}},
		{"/a%2fb", Habits{}, []string{"/a%2Fb", "/a/b"}},
		{`/a\b%5c`, Habits{}, []string{`/a\b\`, "/a/b/"}},
		{"/a%2f/b", Habits{}, []string{"/a%2F/b", "/a//b", "/a/b"}},
		{"/a%2fb", Habits{Slashes: Keep}, []string{"/a%2Fb"}},
		{"/a%2fb%5cc", Habits{Slashes: Special}, []string{`/a/b\c`, "/a/b/c"}},
		{"/a%2fb%5cc", Habits{Slashes: Keep}, []string{`/a%2Fb\c`, "/a%2Fb/c"}},
		{"/a%2fb%5cc", Habits{}, []string{`/a%2Fb\c`, "/a%2Fb/c", `/a/b\c`, "/a/b/c"}},
		{"/a%3bx", Habits{}, []string{"/a;x"}},
	} {
		if got := slices.Collect(Readings(c.in, c.habits)); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestCutPrefixCutsWhatIsSpeltOtherwiseToo(t *testing.T) {
	for _, c := range []struct {
		path, prefix, want string
		ok                 bool
	}{
		{"/api/x", "/api", "/x", true}, {"/api", "/api", "/", true}, {"/api/", "/api", "/", true}, {"/apix", "/api", "/apix", false},
		{"/%61pi/x%2f", "/api", "/x%2f", true}, {"/a%2fb/c", "/a%2Fb", "/c", true}, {"/a/b", "/a%2Fb", "/a/b", false}, {"/ap", "/api", "/ap", false},
		{"/%c3%a4/x", "/ä", "/x", true}, {"/%25/x", "/%25", "/x", true},
	} {
		if got, ok := CutPrefix(c.path, c.prefix); got != c.want || ok != c.ok {
			t.Errorf("%q off %q: %q, %t", c.prefix, c.path, got, ok)
		}
	}
}

func TestPlainPathsCostNothing(t *testing.T) {
	const path = "/assets/js/app.1234.min.js"
	if allocs := testing.AllocsPerRun(100, func() {
		if !Plain(path) || Canonical(path) != path {
			t.Fatal("not plain")
		}
		if got, err := Normalize(path, true); got != path || err != nil {
			t.Fatal(got, err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// FuzzNormalize: the normal form is its own normal form, no reading of it has a
// dot segment, what is matched decodes to the same bytes as what is forwarded,
// and encoding brings the canonical form back.
func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{"/", "/a/../b", "/%2e%2e/", "/a/..%2fb", "//a//", "/admin;x", `/a\..\b`, "/%2525", "/a/.%2e/%2E", "/;/..;/", "/a%00", "/%", "/a/./"} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, path string, merge bool) {
		path = "/" + path
		normal, err := Normalize(path, merge)
		if Plain(path) && (err != nil || normal != path || Canonical(path) != path) {
			t.Fatalf("%q is plain, and became %q, %v", path, normal, err)
		}
		if err != nil {
			return
		}
		if again, err := Normalize(normal, merge); err != nil || again != normal {
			t.Fatalf("%q became %q, and that %q, %v", path, normal, again, err)
		}
		if normal[0] != '/' || merge && strings.Contains(normal, "//") {
			t.Fatalf("%q became %q", path, normal)
		}
		canonical := Canonical(normal)
		matched, err1 := url.PathUnescape(canonical)
		forwarded, err2 := url.PathUnescape(normal)
		if err1 != nil || err2 != nil || matched != forwarded {
			t.Fatalf("%q: matched %q, forwarded %q", path, matched, forwarded)
		}
		if back := Canonical(Encode(canonical)); back != canonical {
			t.Fatalf("%q: %q came back as %q", path, canonical, back)
		}
		for reading := range Readings(normal, Habits{}) {
			for segment := range strings.SplitSeq(reading, "/") {
				if decoded, _ := url.PathUnescape(segment); decoded == "." || decoded == ".." {
					t.Fatalf("%q has the reading %q", path, reading)
				}
			}
		}
		if only, ok := Only(normal); ok && !slices.Equal(slices.Collect(Readings(normal, Habits{})), []string{only}) {
			t.Fatalf("%q is said to have only the reading %q", normal, only)
		}
		if first := slices.Collect(Readings(normal, Habits{Parameters: Keep, Slashes: Keep}))[0]; first != canonical {
			t.Fatalf("%q: the first reading is %q, not %q", path, first, canonical)
		}
	})
}

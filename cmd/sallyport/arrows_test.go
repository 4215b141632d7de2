package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestArrows keeps the plan of the house: who may import whom, who may read
// the environment, what lies where. DESIGN.md is the plan, arrows_rules_test.go
// its rules, and arrows_proof_test.go shows that each rule can fail.
func TestArrows(t *testing.T) {
	h := readHouse(t)
	for _, rule := range houseRules {
		t.Run(rule.name, func(t *testing.T) {
			for _, breach := range slices.Sorted(slices.Values(rule.breaches(h))) {
				t.Errorf("%s\n\twhy not: %s", breach, rule.why)
			}
		})
	}
}

// houseModule is the module path; rooms are import paths below it.
const houseModule = "github.com/sallyport/sallyport"

// house is the source tree as the rules see it.
type house struct {
	top     []string        // names at the top level, as git would carry them; nil when git cannot tell
	units   []*houseUnit    // all Go packages, a package and its external test being two
	closure []string        // import paths linked into the sallyport binary
	files   map[string]bool // every path under a testdata/fuzz folder, from the root, with slashes
}

// houseUnit is the files of one package in one folder, for every platform. It
// is type-checked just far enough to know which identifier is which package or
// which package-level variable; what it imports is not looked into.
type houseUnit struct {
	dir     string // from the root, with slashes; "." for the root
	sources []*houseSource
	scope   *types.Scope
	info    *types.Info
}

// houseSource is one Go file.
type houseSource struct {
	unit *houseUnit
	path string // from the root, with slashes
	tree *ast.File
	set  *token.FileSet
}

func (s *houseSource) test() bool          { return strings.HasSuffix(s.path, "_test.go") }
func (s *houseSource) in(room string) bool { return within(s.path, room) }
func (s *houseSource) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, s.set.Position(pos).Line)
}

// within reports whether path is room or lies below it.
func within(path, room string) bool {
	return path == room || strings.HasPrefix(path, room+"/")
}

// sources yields every file of the house.
func (h *house) sources(yield func(*houseSource) bool) {
	for _, unit := range h.units {
		for _, source := range unit.sources {
			if !yield(source) {
				return
			}
		}
	}
}

// imports returns what a file imports, with where.
func (s *houseSource) imports() map[string]string {
	all := make(map[string]string)
	for _, spec := range s.tree.Imports {
		all[strings.Trim(spec.Path.Value, "`\"")] = s.at(spec.Pos())
	}
	return all
}

// rooms returns the packages of this module that a file imports, as paths from
// the root.
func (s *houseSource) rooms() map[string]string {
	all := make(map[string]string)
	for imported, at := range s.imports() {
		if room, ok := strings.CutPrefix(imported, houseModule+"/"); ok {
			all[room] = at
		}
	}
	return all
}

// readHouse reads the checkout that the test runs in.
func readHouse(t *testing.T) *house {
	t.Helper()
	root := filepath.Dir(strings.TrimSpace(run(t, ".", "go", "env", "GOMOD")))
	sources := make(map[string][]byte)
	h := &house{files: make(map[string]bool)}
	for _, dir := range goFolders(t, root) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if strings.HasSuffix(entry.Name(), ".go") {
				name := filepath.Join(dir, entry.Name())
				if sources[slashed(t, root, name)], err = os.ReadFile(name); err != nil {
					t.Fatal(err)
				}
			}
		}
		seeds, err := filepath.Glob(filepath.Join(dir, "testdata", "fuzz", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, seed := range seeds {
			h.files[slashed(t, root, seed)] = true
		}
	}
	var err error
	if h.units, err = readUnits(sources); err != nil {
		t.Fatal(err)
	}
	h.closure = strings.Fields(run(t, root, "go", "list", "-deps", "./cmd/sallyport"))
	h.top = topLevel(t, root)
	return h
}

// goFolders asks go list for the folders of all packages.
func goFolders(t *testing.T, root string) []string {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(run(t, root, "go", "list", "-e", "-json=Dir", "./...")))
	var dirs []string
	for decoder.More() {
		var listed struct{ Dir string }
		if err := decoder.Decode(&listed); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, listed.Dir)
	}
	return dirs
}

// topLevel asks git for the names at the top level, so that what .gitignore
// leaves out does not count. Without a checkout (a source archive) there is
// nothing to ask.
func topLevel(t *testing.T, root string) []string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		return nil
	}
	var top []string
	for file := range strings.SplitSeq(run(t, root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		if name, _, _ := strings.Cut(file, "/"); name != "" {
			top = append(top, name)
		}
	}
	slices.Sort(top)
	return slices.Compact(top)
}

// run returns what a command prints, and ends the test if it fails.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		var stderr []byte
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			stderr = exit.Stderr
		}
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr)
	}
	return string(out)
}

func slashed(t *testing.T, root, name string) string {
	t.Helper()
	relative, err := filepath.Rel(root, name)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.ToSlash(relative)
}

// readUnits parses Go files, given by their paths from the root, and groups
// them into packages.
func readUnits(files map[string][]byte) ([]*houseUnit, error) {
	set := token.NewFileSet()
	byPackage := make(map[string]*houseUnit)
	var units []*houseUnit
	paths := make([]string, 0, len(files))
	for name := range files {
		paths = append(paths, name)
	}
	slices.Sort(paths)
	for _, name := range paths {
		tree, err := parser.ParseFile(set, name, files[name], parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		key := path.Dir(name) + " " + tree.Name.Name
		unit := byPackage[key]
		if unit == nil {
			unit = &houseUnit{dir: path.Dir(name), info: &types.Info{
				Defs: make(map[*ast.Ident]types.Object),
				Uses: make(map[*ast.Ident]types.Object),
			}}
			byPackage[key] = unit
			units = append(units, unit)
		}
		unit.sources = append(unit.sources, &houseSource{unit: unit, path: name, tree: tree, set: set})
	}
	for _, unit := range units {
		unit.resolve(set)
	}
	return units, nil
}

// resolve finds out what the identifiers of a unit stand for. Errors are
// expected, since imports are empty shells here, and mean nothing: whether the
// code compiles is the compiler's business.
func (u *houseUnit) resolve(set *token.FileSet) {
	checker := types.Config{Importer: emptyShells{}, FakeImportC: true, Error: func(error) {}}
	var trees []*ast.File
	for _, source := range u.sources {
		trees = append(trees, source.tree)
	}
	pkg, _ := checker.Check(u.dir, set, trees, u.info)
	u.scope = pkg.Scope()
}

// emptyShells imports every package as one that declares nothing.
type emptyShells struct{}

func (emptyShells) Import(imported string) (*types.Package, error) {
	pkg := types.NewPackage(imported, path.Base(imported))
	pkg.MarkComplete()
	return pkg, nil
}

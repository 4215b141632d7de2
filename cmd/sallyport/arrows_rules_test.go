package main_test

import (
	"go/ast"
	"go/types"
	"path"
	"slices"
	"strings"
)

// houseRule is one sentence of the plan. Its breaches start with file:line.
type houseRule struct {
	name     string
	why      string
	breaches func(*house) []string
}

var houseRules = []houseRule{
	{"top level", "DESIGN.md lists what lies at the top; a new thing belongs into one of its rooms", checkTopLevel},
	{"proxy and tlsmgr are strangers", "they meet in cmd, as a GetCertificate function and an http.Handler", checkStrangers},
	{"config stops at build.go", "leaves take their own small Options, so that the language can change without them", checkConfig},
	{"nothing imports cmd", "cmd is the wiring: it knows every room and no room knows it; only a program has rooms of its own", checkCommands},
	{"certificate libraries stay in tlsmgr", "certmagic, acmez and libdns can be replaced as long as one room knows them", checkCertificateLibraries},
	{"engines stay behind the seams", "elsewhere everything is an http.Handler or an http.RoundTripper, so that engines can be replaced", checkEngines},
	{"test support is not shipped", "the binary has no test CA and no testing package in it", checkShipped},
	{"the environment is read in seal.go", "credentials come from the configuration alone; no variable chooses anything", checkEnvironment},
	{"no globals of libraries", "default clients use proxy variables, default loggers and muxes are shared by everyone", checkLibraryGlobals},
	{"no init", "what runs before main cannot be sealed, ordered or tested", checkInit},
	{"no mutable package state", "state has an owner that is made, run and closed", checkState},
	{"no cgo", "a static binary, and a resolver that reads no environment", checkCgo},
	{"every package has a doc.go", "it says what the room is for, what it must not import and who owns what", checkDocs},
	{"fuzz targets have seeds", "without seeds go test runs a fuzz target on nothing", checkSeeds},
	{"tests do not sleep", "wait for the event itself, or use testing/synctest", checkSleep},
}

func checkTopLevel(h *house) (breaches []string) {
	listed := strings.Fields("cmd config proxy tlsmgr deploy Dockerfile go.mod go.sum README.md CHANGELOG.md LICENSE .ci .dockerignore")
	for _, name := range h.top {
		if !slices.Contains(listed, name) && !strings.HasPrefix(name, ".git") {
			breaches = append(breaches, name+":1: is not in the plan")
		}
	}
	return breaches
}

func checkStrangers(h *house) (breaches []string) {
	for source := range h.sources {
		for room, at := range source.rooms() {
			if source.in("proxy") && within(room, "tlsmgr") || source.in("tlsmgr") && within(room, "proxy") {
				breaches = append(breaches, at+": imports "+room)
			}
		}
	}
	return breaches
}

func checkConfig(h *house) (breaches []string) {
	for source := range h.sources {
		for room, at := range source.rooms() {
			if within(room, "config/secret") {
				continue // a leaf that everybody may import
			}
			switch {
			case source.in("config/secret"), source.unit.dir == "config" && !(source.test() && room == "config"), source.in("config") && !within(room, "config"):
				breaches = append(breaches, at+": imports "+room+"; config is data and knows no room")
			case (source.in("proxy") || source.in("tlsmgr")) && within(room, "config"):
				builder := source.path == "proxy/build.go" || strings.HasPrefix(source.path, "proxy/build_") || source.path == "tlsmgr/build.go"
				builderTest := source.test() && (source.unit.dir == "proxy" || source.unit.dir == "tlsmgr")
				if room != "config" || !builder && !builderTest {
					breaches = append(breaches, at+": imports "+room+"; only proxy/build.go, proxy/build_*.go and tlsmgr/build.go know it")
				}
			}
		}
	}
	return breaches
}

func checkCommands(h *house) (breaches []string) {
	for source := range h.sources {
		for room, at := range source.rooms() {
			own, _, _ := strings.Cut(strings.TrimPrefix(source.path, "cmd/"), "/") // the program
			if within(room, "cmd") && !(source.in("cmd") && strings.HasPrefix(room, "cmd/"+own+"/")) {
				breaches = append(breaches, at+": imports "+room)
			}
		}
	}
	return breaches
}

func checkCertificateLibraries(h *house) (breaches []string) {
	for source := range h.sources {
		if source.in("tlsmgr") || source.test() {
			continue
		}
		for imported, at := range source.imports() {
			for _, library := range []string{"github.com/caddyserver/certmagic", "github.com/mholt/acmez", "github.com/libdns"} {
				if within(imported, library) {
					breaches = append(breaches, at+": imports "+imported)
				}
			}
		}
	}
	return breaches
}

// engineRooms may know which HTTP server or client there is: the two engines,
// the control socket, what sends spans, the client and the stand-in of the Cloudflare API, what
// looks at the CA, the sandbox, and the bench.
var engineRooms = []string{"proxy/upstream", "proxy/listen", "proxy/admin", "proxy/tracing", "proxy/bench", "tlsmgr/cloudflare", "tlsmgr/survey", "tlsmgr/acmetest", "cmd/sandbox"}

func checkEngines(h *house) (breaches []string) {
	for source := range h.sources {
		if source.test() || slices.ContainsFunc(engineRooms, source.in) {
			continue
		}
		for _, engine := range []string{"Transport", "Server"} {
			breaches = append(breaches, source.mentions("net/http", engine)...)
		}
		for imported, at := range source.imports() {
			if within(imported, "golang.org/x/net/http2") || within(imported, "github.com/quic-go/quic-go") {
				breaches = append(breaches, at+": imports "+imported)
			}
		}
	}
	return breaches
}

func checkShipped(h *house) (breaches []string) {
	const support = "tlsmgr/acmetest"
	for source := range h.sources {
		if source.test() || source.in(support) || source.in("cmd/sandbox") {
			continue
		}
		for room, at := range source.rooms() {
			if within(room, support) {
				breaches = append(breaches, at+": imports "+room+"; only tests and cmd/sandbox may")
			}
		}
	}
	for _, linked := range h.closure {
		for _, unwanted := range []string{"testing", "github.com/letsencrypt/pebble", "github.com/letsencrypt/challtestsrv", houseModule + "/" + support} {
			if within(linked, unwanted) {
				breaches = append(breaches, "cmd/sallyport/main.go:1: the binary links "+linked)
			}
		}
	}
	return breaches
}

// ambient lists what reads or changes the environment, openly or not.
var ambient = map[string][]string{
	"os": {"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Clearenv", "Setenv", "Unsetenv",
		"UserHomeDir", "UserConfigDir", "UserCacheDir", "TempDir"},
	"os/user":                         {"Current"},
	"syscall":                         {"Getenv", "Environ", "Clearenv", "Setenv", "Unsetenv"},
	"golang.org/x/sys/unix":           {"Getenv", "Environ", "Clearenv", "Setenv", "Unsetenv"},
	"crypto/x509":                     {"SystemCertPool"},
	"net/http":                        {"ProxyFromEnvironment"},
	"golang.org/x/net/proxy":          {"FromEnvironment", "FromEnvironmentUsing"},
	"golang.org/x/net/http/httpproxy": {"FromEnvironment"},
}

// pebbleSettings is the file of test support that hands Pebble its settings.
// Pebble takes them from the environment alone, so that file may set (not read)
// variables, and keep a lock on the environment, which is as global as that is.
const pebbleSettings = "tlsmgr/acmetest/pebble.go"

func checkEnvironment(h *house) (breaches []string) {
	for source := range h.sources {
		if source.test() || source.path == "cmd/sallyport/seal.go" {
			continue
		}
		for imported, names := range ambient {
			if source.path == pebbleSettings {
				names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "Setenv" || name == "Unsetenv" })
			}
			breaches = append(breaches, source.mentions(imported, names...)...)
		}
	}
	return breaches
}

// libraryGlobals lists shared state of libraries that nobody here may lean on.
var libraryGlobals = map[string][]string{
	"net/http": {"DefaultClient", "DefaultTransport", "DefaultServeMux", "Get", "Head", "Post", "PostForm",
		"Handle", "HandleFunc", "ListenAndServe", "ListenAndServeTLS", "Serve", "ServeTLS"},
	"log":                              {"Print", "Printf", "Println", "Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln", "Default", "SetOutput"},
	"log/slog":                         {"Debug", "Info", "Warn", "Error", "Default", "SetDefault"},
	"go.uber.org/zap":                  {"L", "S", "ReplaceGlobals"},
	"github.com/caddyserver/certmagic": {"Default", "DefaultACME", "NewDefault", "HTTPS", "Listen", "TLS", "ManageSync", "ManageAsync"},
}

func checkLibraryGlobals(h *house) (breaches []string) {
	for source := range h.sources {
		if source.test() {
			continue
		}
		if source.path == "cmd/sandbox/main.go" {
			continue // a program of its own, which silences what GODEBUG makes its test servers say
		}
		for imported, names := range libraryGlobals {
			breaches = append(breaches, source.mentions(imported, names...)...)
		}
		for _, spec := range source.tree.Imports {
			if spec.Name != nil && spec.Name.Name == "." {
				breaches = append(breaches, source.at(spec.Pos())+": imports "+spec.Path.Value+" with a dot, which hides whose names these are")
			}
		}
	}
	return breaches
}

func checkInit(h *house) (breaches []string) {
	for source := range h.sources {
		for _, declaration := range source.tree.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				breaches = append(breaches, source.at(f.Pos())+": func init")
			}
		}
	}
	return breaches
}

func checkCgo(h *house) (breaches []string) {
	for source := range h.sources {
		if at, ok := source.imports()["C"]; ok {
			breaches = append(breaches, at+": imports C")
		}
	}
	return breaches
}

func checkDocs(h *house) (breaches []string) {
	for _, unit := range h.units {
		if !slices.ContainsFunc(unit.sources, func(s *houseSource) bool { return !s.test() }) {
			continue // an external test
		}
		name := path.Join(unit.dir, "doc.go")
		i := slices.IndexFunc(unit.sources, func(s *houseSource) bool { return s.path == name })
		switch {
		case i < 0:
			breaches = append(breaches, name+":1: is missing")
		case unit.sources[i].tree.Doc == nil:
			breaches = append(breaches, name+":1: has no package comment")
		}
	}
	return breaches
}

func checkSeeds(h *house) (breaches []string) {
	for source := range h.sources {
		for _, declaration := range source.tree.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || !source.test() || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Fuzz") || len(source.parameterOf(f, "testing", "F")) == 0 {
				continue
			}
			folder := path.Join(source.unit.dir, "testdata", "fuzz", f.Name.Name)
			if !h.holds(folder) && !addsSeed(f, source.parameterOf(f, "testing", "F")) {
				breaches = append(breaches, source.at(f.Pos())+": "+f.Name.Name+" has neither f.Add nor files in "+folder)
			}
		}
	}
	return breaches
}

// holds reports whether there is a file in a folder of fuzz seeds.
func (h *house) holds(folder string) bool {
	for file := range h.files {
		if within(file, folder) {
			return true
		}
	}
	return false
}

// addsSeed reports whether f calls Add on its parameter.
func addsSeed(f *ast.FuncDecl, parameter string) (found bool) {
	ast.Inspect(f.Body, func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok {
			if selector, ok := call.Fun.(*ast.SelectorExpr); ok && selector.Sel.Name == "Add" {
				receiver, ok := selector.X.(*ast.Ident)
				found = found || ok && receiver.Name == parameter
			}
		}
		return !found
	})
	return found
}

// parameterOf returns the name of a function's only parameter if its type is a
// pointer to pkg.name.
func (s *houseSource) parameterOf(f *ast.FuncDecl, pkg, name string) string {
	parameters := f.Type.Params.List
	if len(parameters) != 1 || len(parameters[0].Names) != 1 {
		return ""
	}
	if pointer, ok := parameters[0].Type.(*ast.StarExpr); ok && s.isMention(pointer.X, pkg, name) {
		return parameters[0].Names[0].Name
	}
	return ""
}

// checkSleep lets tests sleep in a bubble of testing/synctest, where time is not
// real: that is how it passes there. In a file whose every test opens a bubble,
// by itself or by a function of the file, all code may sleep.
func checkSleep(h *house) (breaches []string) {
	for source := range h.sources {
		if !source.test() || source.allInBubbles() {
			continue
		}
		ast.Inspect(source.tree, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.CallExpr:
				return !source.isMention(n.Fun, "testing/synctest", "Test")
			case *ast.FuncDecl:
				return !source.needsBubble(n.Body)
			case *ast.FuncLit:
				return !source.needsBubble(n.Body)
			case *ast.SelectorExpr:
				if source.isMention(n, "time", "Sleep") {
					breaches = append(breaches, source.at(n.Pos())+": time.Sleep")
				}
			}
			return true
		})
	}
	return breaches
}

// allInBubbles reports whether a file has tests and each opens a bubble.
func (s *houseSource) allInBubbles() bool {
	openers := map[string]bool{} // functions that call synctest.Test
	var tests []*ast.FuncDecl
	for _, declaration := range s.tree.Decls {
		f, ok := declaration.(*ast.FuncDecl)
		if !ok || f.Body == nil || f.Recv != nil {
			continue
		}
		if s.calls(f, func(called ast.Expr) bool { return s.isMention(called, "testing/synctest", "Test") }) {
			openers[f.Name.Name] = true
		}
		if strings.HasPrefix(f.Name.Name, "Test") {
			tests = append(tests, f)
		}
	}
	for _, test := range tests {
		if !openers[test.Name.Name] && !s.calls(test, func(called ast.Expr) bool {
			ident, ok := called.(*ast.Ident)
			return ok && openers[ident.Name]
		}) {
			return false
		}
	}
	return len(tests) > 0
}

// calls reports whether a function's body has a call of what matches.
func (s *houseSource) calls(f *ast.FuncDecl, matches func(called ast.Expr) bool) (found bool) {
	ast.Inspect(f.Body, func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok && matches(call.Fun) {
			found = true
		}
		return !found
	})
	return found
}

// needsBubble reports whether a function itself calls synctest.Wait, which
// panics outside a bubble.
func (s *houseSource) needsBubble(body *ast.BlockStmt) (found bool) {
	if body == nil {
		return false
	}
	ast.Inspect(body, func(node ast.Node) bool {
		if expr, ok := node.(ast.Expr); ok && s.isMention(expr, "testing/synctest", "Wait") {
			found = true
		}
		_, literal := node.(*ast.FuncLit)
		return !literal
	})
	return found
}

// mentions lists every use of the given names of an imported package, called
// or not, whatever the import is called in the file.
func (s *houseSource) mentions(imported string, names ...string) (found []string) {
	ast.Inspect(s.tree, func(node ast.Node) bool {
		if expr, ok := node.(ast.Expr); ok && s.isMention(expr, imported, names...) {
			found = append(found, s.at(node.Pos())+": "+imported+"."+expr.(*ast.SelectorExpr).Sel.Name)
		}
		return true
	})
	return found
}

// isMention reports whether an expression is pkg.NAME with one of the names.
func (s *houseSource) isMention(expr ast.Expr, imported string, names ...string) bool {
	selector, ok := expr.(*ast.SelectorExpr)
	return ok && slices.Contains(names, selector.Sel.Name) && s.packageOf(selector) == imported
}

// packageOf returns the import path of the package that a selector selects
// from, or "" if it selects from a value.
func (s *houseSource) packageOf(selector *ast.SelectorExpr) string {
	if ident, ok := selector.X.(*ast.Ident); ok {
		if name, ok := s.unit.info.Uses[ident].(*types.PkgName); ok {
			return name.Imported().Path()
		}
	}
	return ""
}

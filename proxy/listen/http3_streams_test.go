package listen

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A function that is named to the linker and gone makes the program not link,
// but one whose signature has changed links, and crashes.
func TestTheFunctionOfQuicGoThatIsLinkedToIsStillTheSame(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}\n{{.Version}}", "github.com/quic-go/quic-go").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dir, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	const want = "func(conn *quic.Conn) (*RawServerConn, *quic.SendStream, error)"
	const advice = "newRawServerConn of quic-go %s is %q, and http3_streams.go links to %q.\n" +
		"Look first whether http3.RawServerConn gives access to the control stream by now (then use that and delete the go:linkname and http3_link.s);\n" +
		"else read what newRawServerConn does, mend the declaration, this test, and run the tests of GOAWAY in http3_test.go."
	found := ""
	files, _ := filepath.Glob(filepath.Join(dir, "http3", "*.go"))
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "newRawServerConn" && f.Recv != nil {
				found = types.ExprString(f.Recv.List[0].Type) + " " + types.ExprString(f.Type)
			}
		}
	}
	if found != "*Server "+want {
		t.Errorf(advice, version, found, "*Server "+want)
	}
}

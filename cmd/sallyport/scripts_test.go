package main

import (
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

// TestScripts runs every command line of testdata/script. Besides testscript's
// own commands there are:
//
//	exits CODE COMMAND [ARG ...]          run a command and expect its exit code
//	internet ZONE [ZONE ...]              start the stand-ins; sets $CA, $API, $DNS and writes root.pem
//	token VALUE ZONE[,ZONE] [FLAG ...]    register a token: nodns, revoked, account, filtered
//	fail STATUS                           every API call from now on fails with this status
//	expand FILE [FILE ...]                replace variables in a file
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[outside{}] = &outside{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"internet": startInternet,
			"token":    addToken,
			"fail":     failCalls,
			"expand":   expandFiles,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG ...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[interface {
			error
			ExitCode() int
		}](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\n%s", got, want, ts.ReadFile("stderr"))
	}
}

// outside is what a script has started; it is in the script's values under
// its own type.
type outside struct{ world *acmetest.World }

func outsideOf(ts *testscript.TestScript) *outside { return ts.Value(outside{}).(*outside) }

func startInternet(ts *testscript.TestScript, neg bool, zones []string) {
	if neg || len(zones) == 0 {
		ts.Fatalf("usage: internet ZONE [ZONE ...]")
	}
	world, err := acmetest.Start(acmetest.Options{Zones: zones})
	ts.Check(err)
	ts.Defer(func() { ts.Check(world.Close()) })
	ts.Setenv("CA", world.DirectoryURL)
	ts.Setenv("API", world.API.URL)
	ts.Setenv("DNS", world.DNS.Addr)
	ts.Check(os.WriteFile(ts.MkAbs("root.pem"), world.RootPEM, 0o600))
	outsideOf(ts).world = world
}

func addToken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: token VALUE ZONE[,ZONE] [FLAG ...]")
	}
	token := acmetest.Token{Value: args[0], Zones: strings.Split(args[1], ","), Permissions: acmetest.ZoneRead | acmetest.DNSEdit}
	for _, flag := range args[2:] {
		switch flag {
		case "nodns":
			token.Permissions = acmetest.ZoneRead
		case "revoked":
			token.Revoked = true
		case "account":
			token.Account = true
		case "filtered":
			token.IPFiltered = true
		default:
			ts.Fatalf("unknown flag %s", flag)
		}
	}
	outsideOf(ts).world.API.AddToken(token)
}

func failCalls(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fail STATUS")
	}
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	outsideOf(ts).world.API.FailNext(acmetest.Failure{Times: -1, Status: status, HTML: status == http.StatusBadGateway})
}

func expandFiles(ts *testscript.TestScript, _ bool, files []string) {
	for _, file := range files {
		expanded := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(expanded), 0o600))
	}
}

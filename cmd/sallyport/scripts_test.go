package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/admin"
	"github.com/sallyport/sallyport/tlsmgr/acmetest"
)

// TestScripts runs every command line of testdata/script. Besides testscript's
// own commands there are:
//
//	exits CODE COMMAND [ARG ...]          run a command and expect its exit code
//	internet ZONE [ZONE ...]              start the stand-ins; sets $CA, $API, $DNS and writes root.pem
//	token VALUE ZONE[,ZONE] [FLAG ...]    register a token: nodns, readonly, revoked, account, filtered
//	record ZONE TYPE NAME CONTENT         put a record into the DNS
//	authority SECONDS                     start a CA's directory whose clock is that far off; sets $AUTHORITY and writes authority.pem
//	fail STATUS                           every API call from now on fails with this status
//	expand FILE [FILE ...]                replace variables in a file
//	certificate FILE KEY NAME [expired]   write a self-signed certificate and its key
//	listen                                take a port of 127.0.0.1; sets $TAKEN
//	serving FILE                          wait until the instance with that configuration is healthy
//	stop FILE                             stop it, and wait until it is gone: for one that has taken over, which testscript does not know
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

			"record":    setRecord,
			"authority": startAuthority,
			"expand":    expandFiles,

			"certificate": writeCertificate,
			"listen":      takePort,
			"serving":     awaitServing,
			"stop":        stopServing,
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
		case "readonly":
			token.Permissions = acmetest.ZoneRead | acmetest.DNSRead
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

func writeCertificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: certificate FILE KEY NAME [expired]")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	ends := time.Now().Add(time.Hour)
	if len(args) > 3 {
		ends = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{args[2]}, NotBefore: ends.Add(-2 * time.Hour), NotAfter: ends}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

func takePort(ts *testscript.TestScript, _ bool, _ []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = listener.Close() })
	ts.Setenv("TAKEN", listener.Addr().String())
}

// awaitServing asks until there is an answer.
func awaitServing(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serving FILE")
	}
	cfg, problems := config.Load(ts.MkAbs(args[0]))
	ts.Check(problems.Err())
	limit, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for admin.Health(limit, cfg.SocketPath()) != nil {
		select {
		case <-tick.C:
		case <-limit.Done():
			ts.Fatalf("it is not serving after 20 s")
		}
	}
}

func stopServing(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stop FILE")
	}
	cfg, problems := config.Load(ts.MkAbs(args[0]))
	ts.Check(problems.Err())
	limit, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var status admin.Status
	ts.Check(admin.NewClient(cfg.SocketPath()).Get(limit, "/v1/status", &status))
	ts.Check(syscall.Kill(status.PID, syscall.SIGTERM))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(status.PID, 0) == nil {
		select {
		case <-tick.C:
		case <-limit.Done():
			ts.Fatalf("it has not ended after 20 s")
		}
	}
}

func setRecord(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: record ZONE TYPE NAME CONTENT")
	}
	outsideOf(ts).world.API.SetRecord(args[0], acmetest.Record{Type: args[1], Name: args[2], Content: args[3]})
}

func startAuthority(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: authority SECONDS")
	}
	seconds, err := strconv.Atoi(args[0])
	ts.Check(err)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().UTC().Add(time.Duration(seconds)*time.Second).Format(http.TimeFormat))
		_, _ = io.WriteString(w, `{"newOrder":"https://127.0.0.1/","meta":{"externalAccountRequired":true,"caaIdentities":["ca.test"]}}`)
	}))
	ts.Defer(server.Close)
	ts.Setenv("AUTHORITY", server.URL+"/dir")
	ts.Check(os.WriteFile(ts.MkAbs("authority.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
}

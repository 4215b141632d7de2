package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/failure"
	"github.com/sallyport/sallyport/proxy/routing"
)

func TestOutageDoesNotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		p := New(Options{Logger: zap.New(core)})
		of := func(site string) *http.Request {
			return exchange.With(httptest.NewRequest("GET", "/", nil), &exchange.Exchange{Site: site})
		}
		refused := failure.Verdict{Status: 502, Label: "upstream_refused", Level: zap.ErrorLevel}
		a, b := of("a.test"), of("b.test")
		for range 1000 {
			p.report(a, refused, io.EOF)
			p.report(b, refused, io.EOF)
			time.Sleep(time.Millisecond) // synthetic time
		}
		if n := logs.Len(); n != 2 {
			t.Fatalf("%d lines in the first second, want one of each site", n)
		}
		p.report(a, refused, io.EOF)
		if entry := logs.All()[2].ContextMap(); entry["suppressed"] != int64(999) {
			t.Errorf("held back lines are not counted: %v", entry)
		}
	})
}

func TestPanicIsA500OrABreakAndIsLogged(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	p := New(Options{Logger: zap.New(core)})
	serve := func(action http.HandlerFunc) (w *httptest.ResponseRecorder, thrown any) {
		g := &Generation{hosts: routing.NewHosts[*site](1)}
		if err := g.hosts.Add("a.test", only("a.test", action)); err != nil {
			t.Fatal(err)
		}
		p.Commit(g)
		w = httptest.NewRecorder()
		defer func() { thrown = recover() }()
		p.ServeHTTP(w, httptest.NewRequest("GET", "http://a.test/", nil))
		return w, nil
	}
	w, thrown := serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Half", "done")
		panic("oops")
	})
	if thrown != nil || w.Code != 500 || w.Header().Get("X-Half") != "" || w.Header().Get("Connection") != "close" {
		t.Errorf("%d %v, thrown %v", w.Code, w.Header(), thrown)
	}
	entry := logs.All()[0].ContextMap()
	if entry["error"] != "panic: oops" || !strings.Contains(fmt.Sprint(entry["stack"]), "report_test.go") {
		t.Errorf("logged %v", entry)
	}
	if _, thrown = serve(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half")
		panic("oops")
	}); thrown != http.ErrAbortHandler {
		t.Errorf("after the response began: %v", thrown)
	}
	lines := logs.Len()
	if _, thrown = serve(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }); thrown != http.ErrAbortHandler || logs.Len() != lines {
		t.Errorf("an abort: %v, %d lines", thrown, logs.Len()-lines)
	}
}

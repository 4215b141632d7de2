package main

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary stand in for the program: started under the
// name sallyport it runs main, so tests drive real processes with their own
// environment, PID, signals and exit code.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sallyport":         main,
		"seal-without-exec": sealWithoutExec,
		"library-defaults":  libraryDefaults,
	})
}

// sealWithoutExec is a process that may not re-execute itself.
func sealWithoutExec() {
	s := sealBy(func(string, []string, []string) error { return errors.New("no execve here") })
	fmt.Printf("ignored=%q failure=%v left=%q notify=%q\n", s.ignored, s.failure, os.Environ(), s.service.notifySocket)
}

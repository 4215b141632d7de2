package main

import (
	"os"
	"syscall"
	"testing"
)

func TestEachFurtherSignalMakesAStopMoreUrgent(t *testing.T) {
	const quit, term = syscall.SIGQUIT, syscall.SIGTERM
	for _, test := range []struct {
		name    string
		signals []os.Signal
		want    level
	}{
		{"quit", []os.Signal{quit}, finishing},
		{"term", []os.Signal{term}, cutting},
		{"int", []os.Signal{syscall.SIGINT}, cutting},
		{"quit twice", []os.Signal{quit, quit}, cutting},
		{"quit, then term", []os.Signal{quit, term}, cutting},
		{"term, then quit", []os.Signal{term, quit}, leaving},
		{"term for ever", []os.Signal{term, term, term, term}, leaving},
	} {
		got := serving
		for _, received := range test.signals {
			got = got.after(received)
		}
		if got != test.want {
			t.Errorf("%s: level %d, want %d", test.name, got, test.want)
		}
	}
}

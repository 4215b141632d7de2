package main

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
)

// transcript keeps what the story and the process say.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// TestStoryHolds tells the whole story with the real binary, as
// `go run ./cmd/sandbox --once` does.
func TestStoryHolds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	var out transcript
	told := &story{dir: t.TempDir(), out: &out}
	err := told.tell(t.Context())
	if closeErr := told.close(); closeErr != nil {
		t.Errorf("close: %v", closeErr)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if n := strings.Count(out.String(), "\n  ok  "); n != 8 {
		t.Errorf("%d steps held, want 8:\n%s", n, out.String())
	}
}

// TestStoryNamesTheStepThatDoesNotHold uses a program that ends at once in
// the place of sallyport.
func TestStoryNamesTheStepThatDoesNotHold(t *testing.T) {
	var out transcript
	told := &story{dir: t.TempDir(), out: &out, binary: "/bin/true"}
	if _, err := os.Stat(told.binary); err != nil {
		t.Skip(err)
	}
	err := told.tell(t.Context())
	_ = told.close()
	if err == nil || !strings.HasPrefix(err.Error(), "step 3 did not hold: ") {
		t.Errorf("got %v, want the third step to be named", err)
	}
}

package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each file of testdata/bad has something wrong; the text beside it is what the
// person who wrote it sees.
func TestBadFilesSayWhatIsWrongAndWhatToDo(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, problems := config.Parse("sallyport.yaml", content)
			got := problems.Error() + "\n"
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			// Whatever is wrong, what is meant to be secret stays secret.
			if strings.Contains(strings.ToLower(got), "canary") {
				t.Errorf("a secret is printed:\n%s", got)
			}
			checkShape(t, problems)
		})
	}
}

// checkShape checks what every problem promises.
func checkShape(t *testing.T, problems config.Problems) {
	t.Helper()
	for _, p := range problems {
		first := p.Message[:min(1, len(p.Message))]
		if p.Message == "" || strings.HasSuffix(p.Message, ".") || strings.ToLower(first) != first && !strings.HasPrefix(p.Message, "YAML") {
			t.Errorf("message %q: want lower case and no full stop", p.Message)
		}
		if strings.Contains(p.Message, "\n") || strings.HasSuffix(p.Excerpt, "\n") || strings.HasSuffix(p.Hint, ".") {
			t.Errorf("%+v: want one line of message, and no line end or full stop at the end of the rest", p)
		}
		if p.Excerpt != "" && p.Line == 0 {
			t.Errorf("an excerpt without a position: %+v", p)
		}
		if !strings.HasPrefix(p.Position.String(), "sallyport.yaml") {
			t.Errorf("position %q does not name the file", p.Position)
		}
	}
}

package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/config"
)

// repository is the root of the checkout, seen from this package.
var repository = filepath.Join("..", "..")

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestConfigurationsThatWeShowAreValid reads every configuration in the README
// and below deploy as the program would.
func TestConfigurationsThatWeShowAreValid(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readme(t), -1)
	if len(blocks) < 2 {
		t.Fatalf("found %d configurations in the README", len(blocks))
	}
	for _, block := range blocks {
		if _, problems := config.Parse("README.md", []byte(block[1])); problems.Err() != nil {
			t.Errorf("%v\nin:\n%s", problems, block[1])
		}
	}
	files, err := filepath.Glob(filepath.Join(repository, "deploy", "*", "*.yaml"))
	if err != nil || len(files) < 11 {
		t.Fatalf("found %d configurations below deploy, %v", len(files), err)
	}
	for _, file := range files {
		if _, problems := config.Load(file); problems.Err() != nil {
			t.Error(problems)
		}
	}
}

// TestEachKeyOfARouteHasALineInTheREADME looks for it in the table.
func TestEachKeyOfARouteHasALineInTheREADME(t *testing.T) {
	_, table, _ := strings.Cut(readme(t), "### All keys of a site and its routes\n")
	table, _, _ = strings.Cut(table, "\n### ")
	for _, kind := range []reflect.Type{reflect.TypeFor[config.Handling](), reflect.TypeFor[config.Site]()} {
		for field := range kind.Fields() {
			if key := field.Tag.Get("yaml"); key != "" && key != "-" && !strings.Contains(table, "`"+key+"`") {
				t.Errorf("the README has no line for %s", key)
			}
		}
	}
}

// TestLimitsOfTheREADMEAreTheDefaults compares the table with the defaults.
func TestLimitsOfTheREADMEAreTheDefaults(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| ([^ ]+) \\|").FindAllStringSubmatch(readme(t), -1)
	var stated strings.Builder
	for _, row := range rows {
		stated.WriteString("  " + row[1] + ": " + row[2] + "\n")
	}
	const sites = "sites: {localhost: 'http://127.0.0.1:9'}\n"
	byDefault, problems := config.Parse("defaults", []byte(sites))
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	asStated, problems := config.Parse("README.md", []byte(sites+"limits:\n"+stated.String()))
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	if byDefault.Limits != asStated.Limits {
		t.Errorf("the README says\n%sthe defaults are %+v", stated.String(), byDefault.Limits)
	}
	// A row that is missing would pass the comparison: take its default away.
	if want := 20; len(rows) != want {
		t.Errorf("the README has %d limits, want %d", len(rows), want)
	}
	if byDefault.Limits.ShutdownTimeout != 30*time.Second {
		t.Errorf("deploy/ waits 40s for a stop, and shutdown_timeout is %v", byDefault.Limits.ShutdownTimeout)
	}
}

package main

import (
	"io"
	"strings"
	"testing"
)

// TestWhatWeShipPassesOurOwnDoctor keeps deploy/ free of the mistakes that
// doctor knows.
func TestWhatWeShipPassesOurOwnDoctor(t *testing.T) {
	const deploy = "../../deploy/"
	var out strings.Builder
	execute(sealing{}, []string{"doctor", "--offline", "--config", deploy + "config/sallyport.yaml", "--unit", deploy + "sallyport.service", "--compose", deploy + "compose.yaml"}, &out, io.Discard)
	for _, want := range []string{"nothing against " + deploy + "sallyport.service", "nothing against " + deploy + "compose.yaml"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
}

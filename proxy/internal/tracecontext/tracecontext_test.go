package tracecontext_test

import (
	"strings"
	"testing"

	"github.com/sallyport/sallyport/proxy/internal/tracecontext"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
	zeros16 = "0000000000000000"
)

// The sections are those of W3C Trace Context, https://www.w3.org/TR/trace-context/.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		section, value string
		ok             bool
		flags          byte
	}{
		{"3.2 the example of the specification", "00-" + traceID + "-" + spanID + "-01", true, 1},
		{"3.2.2 version 00 has four fields and nothing behind", "00-" + traceID + "-" + spanID + "-01-more", false, 0},
		{"3.2.2 nor a dash", "00-" + traceID + "-" + spanID + "-01-", false, 0},
		{"3.2.2.1 version ff is invalid", "ff-" + traceID + "-" + spanID + "-01", false, 0},
		{"3.2.2.1 a version is lower case", "0A-" + traceID + "-" + spanID + "-01", false, 0},
		{"3.2.2.1 a version is two digits", "0-" + traceID + "-" + spanID + "-01", false, 0},
		{"3.2.2.1 a version is hexadecimal", "0g-" + traceID + "-" + spanID + "-01", false, 0},
		{"3.2.2.3 a trace id of zeros is invalid", "00-" + zeros16 + zeros16 + "-" + spanID + "-01", false, 0},
		{"3.2.2.3 a trace id is lower case", "00-" + strings.ToUpper(traceID) + "-" + spanID + "-01", false, 0},
		{"3.2.2.3 a trace id is 32 digits: one less", "00-" + traceID[1:] + "-" + spanID + "-01", false, 0},
		{"3.2.2.3 one more", "00-0" + traceID + "-" + spanID + "-01", false, 0},
		{"3.2.2.3 a trace id is hexadecimal", "00-" + traceID[1:] + "g-" + spanID + "-01", false, 0},
		{"3.2.2.3 only its left half may be zeros", "00-" + zeros16 + traceID[16:] + "-" + spanID + "-01", true, 1},
		{"3.2.2.4 a parent id of zeros is invalid", "00-" + traceID + "-" + zeros16 + "-01", false, 0},
		{"3.2.2.4 a parent id is lower case", "00-" + traceID + "-" + strings.ToUpper(spanID) + "-01", false, 0},
		{"3.2.2.4 a parent id is 16 digits", "00-" + traceID + "-" + spanID[1:] + "-01", false, 0},
		{"3.2.2.5 not sampled", "00-" + traceID + "-" + spanID + "-00", true, 0},
		{"3.2.2.5.2 bits that nobody knows yet do not matter", "00-" + traceID + "-" + spanID + "-fe", true, 0xfe},
		{"3.2.2.5.2 nor beside the one that is known", "00-" + traceID + "-" + spanID + "-ff", true, 0xff},
		{"3.2.2.5 flags are lower case", "00-" + traceID + "-" + spanID + "-0A", false, 0},
		{"3.2.2.5 flags are two digits", "00-" + traceID + "-" + spanID + "-1", false, 0},
		{"3.2.4 of a higher version the known part is read", "01-" + traceID + "-" + spanID + "-01", true, 1},
		{"3.2.4 with a dash, more may come", "cc-" + traceID + "-" + spanID + "-01-what-the-future-brings", true, 1},
		{"3.2.4 and nothing behind the dash", "cc-" + traceID + "-" + spanID + "-01-", true, 1},
		{"3.2.4 but not without the dash", "cc-" + traceID + "-" + spanID + "-01.what", false, 0},
		{"3.2.4 a higher version is not shorter", "cc-" + traceID + "-" + spanID, false, 0},
		{"3.2.4 its ids are checked too", "cc-" + traceID + "-" + zeros16 + "-01", false, 0},
		{"3.2 dashes and nothing else", "00_" + traceID + "_" + spanID + "_01", false, 0},
		{"3.2 no blanks", " 00-" + traceID + "-" + spanID + "-01", false, 0},
		{"3.2 no blanks behind", "00-" + traceID + "-" + spanID + "-01 ", false, 0},
		{"3.2 no list", "00-" + traceID + "-" + spanID + "-01,00-" + traceID + "-" + spanID + "-01", false, 0},
		{"3.2 no line break", "00-" + traceID + "-" + spanID + "-0\n", false, 0},
		{"3.2 not empty", "", false, 0},
		{"3.2 not only dashes", strings.Repeat("-", 55), false, 0},
	} {
		got, ok := tracecontext.Parse([]string{c.value})
		want := tracecontext.Parent{}
		if c.ok {
			want = tracecontext.Parent{Trace: c.value[3:35], Span: c.value[36:52], Flags: c.flags}
		}
		if ok != c.ok || got != want {
			t.Errorf("%s: %q: %+v, %v", c.section, c.value, got, ok)
		}
		if got.Sampled() != (c.flags&1 == 1) {
			t.Errorf("%s: %q: sampled %v", c.section, c.value, got.Sampled())
		}
	}
}

func TestTheFieldStandsOnceOrNotAtAll(t *testing.T) { // section 3.2: one header
	value := "00-" + traceID + "-" + spanID + "-01"
	for _, values := range [][]string{nil, {}, {value, value}, {value, ""}} {
		if got, ok := tracecontext.Parse(values); ok || got != (tracecontext.Parent{}) {
			t.Errorf("%q: %+v", values, got)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	got := tracecontext.Format([16]byte{0x4b, 0xf9, 15: 0x36}, [8]byte{1, 7: 0xb7})
	if want := "00-4bf90000000000000000000000000036-01000000000000b7-01"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if parent, ok := tracecontext.Parse([]string{got}); !ok || !parent.Sampled() {
		t.Errorf("%+v, %v", parent, ok)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"00-" + traceID + "-" + spanID + "-01", "cc-" + traceID + "-" + spanID + "-01-x", "ff-" + traceID + "-" + spanID + "-00",
		"00-" + zeros16 + zeros16 + "-" + spanID + "-01", "", "-", strings.Repeat("0", 55),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		parent, ok := tracecontext.Parse([]string{value})
		if !ok {
			if parent != (tracecontext.Parent{}) {
				t.Errorf("%q is refused and yet %+v", value, parent)
			}
			return
		}
		known := value[:3] + parent.Trace + "-" + parent.Span + "-" + value[53:55]
		if !strings.HasPrefix(value, known) || len(parent.Trace) != 32 || len(parent.Span) != 16 {
			t.Errorf("%q was read as %+v", value, parent)
		}
		if strings.Trim(parent.Trace, "0123456789abcdef") != "" || strings.Trim(parent.Trace, "0") == "" ||
			strings.Trim(parent.Span, "0123456789abcdef") != "" || strings.Trim(parent.Span, "0") == "" {
			t.Errorf("%q has the ids %+v", value, parent)
		}
		if again, ok := tracecontext.Parse([]string{"00-" + parent.Trace + "-" + parent.Span + "-" + value[53:55]}); !ok || again != parent {
			t.Errorf("%q: %+v in version 00", value, again)
		}
	})
}

package tables

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sallyport/sallyport/proxy/explain"
	"github.com/sallyport/sallyport/tlsmgr"
)

// Answer prints what would become of a request.
func Answer(out io.Writer, a *explain.Answer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name string, texts ...string) {
		text := strings.Join(slices.DeleteFunc(texts, func(t string) bool { return t == "" }), "  ")
		_, _ = fmt.Fprintf(w, "%s\t%s\n", name, strings.Map(harmless, text))
	}
	row("request", a.Method+" "+a.URL)
	via := ""
	if a.Via != "" {
		via = "named by the trusted proxy " + a.Via
	}
	row("client", a.Client, via)
	if a.Site != "" {
		row("site", a.Site, a.SitePlace)
	}
	for _, one := range a.Routes {
		switch {
		case one.Taken:
			row("route", one.Name, one.Place)
		case one.Why != "":
			row("not", one.Name, one.Place, one.Why)
		}
	}
	for _, one := range a.Readings {
		row("reading", one.Path+" leads to "+cmp.Or(one.Route, "no route"))
	}
	for _, step := range a.Middleware {
		verdict := ""
		if step.Verdict != "" {
			verdict = "(" + step.Verdict + ")"
		}
		row("through", step.Name, step.Place, verdict)
	}
	if a.Target != "" {
		row("target", a.Target)
	}
	if a.Action != nil {
		printAction(row, a.Action)
	}
	if c := a.Certificate; c != nil {
		printCertificate(row, c)
	}
	if r := a.Refused; r != nil {
		status := ""
		if r.Status != 0 {
			status = fmt.Sprint(r.Status)
		}
		row("REFUSED", status, r.Reason)
		if r.Hint != "" {
			row("", "hint: "+r.Hint)
		}
	}
	for _, note := range a.Notes {
		row("note", note.Message)
		if note.Hint != "" {
			row("", "hint: "+note.Hint)
		}
	}
	return w.Flush()
}

func printAction(row func(string, ...string), a *explain.Action) {
	status := ""
	if a.Status != 0 {
		status = fmt.Sprint(a.Status)
	}
	switch {
	case a.Kind == "proxy" && a.Upstream == "":
		row("action", "proxy", a.Place)
	case a.Kind == "proxy":
		row("action", "proxy to upstream "+a.Upstream, a.Place)
		if a.Balance != "" {
			row("", "one of the servers by "+a.Balance+": "+a.Rule)
		}
	default:
		row("action", a.Kind, status, a.Text, a.Place)
	}
	for _, s := range a.Servers {
		name, backup, cause := "server", "", ""
		if len(a.Servers) > 1 && !s.Chosen && (a.Server != "" || s.Why != "") {
			name = "not"
		}
		if s.Backup {
			backup = "backup"
		}
		if s.Cause != "" {
			cause = "(" + OneLine(s.Cause) + ")"
		}
		row(name, s.Address, backup, s.State, s.Why, cause)
	}
	if a.File != nil {
		printFile(row, a.File)
	}
}

func printFile(row func(string, ...string), f *explain.File) {
	for _, miss := range f.Tried {
		row("not", miss.Path, miss.Why)
	}
	name := "file"
	switch {
	case f.Path == "":
		return
	case f.Listing:
		name = "listing"
	case f.Script:
		name = "script"
	}
	instead := ""
	if f.Variant != "" {
		instead = "sent as " + f.Variant + " (" + f.Coding + ")"
	}
	row(name, f.Path, f.Type, instead)
}

func printCertificate(row func(string, ...string), c *explain.Certificate) {
	how := ""
	switch c.Issuer {
	case tlsmgr.IssuerACME:
		how = "by " + c.CA + ", zone " + orDash(c.Zone) + ", credential " + orDash(c.Credential)
	case tlsmgr.IssuerInternal:
		how = "by the internal CA"
	case tlsmgr.IssuerFile:
		how = "from " + c.File
	}
	until := ""
	if c.NotAfter != nil {
		until = "until " + c.NotAfter.Format(time.RFC3339)
	}
	row("certificate", c.Name, how, c.State, until)
	if c.Error != "" {
		row("", OneLine(c.Error))
	}
}

package tables

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/sallyport/sallyport/cmd/sallyport/doctor"
	"github.com/sallyport/sallyport/proxy/admin"
)

// Status prints how a process is.
func Status(w io.Writer, s *admin.Status) {
	_, _ = fmt.Fprintf(w, "version\t%s, pid %d, up %v\n", s.Version, s.PID, s.Now.Sub(s.Started).Truncate(time.Second))
	_, _ = fmt.Fprintf(w, "config\t%s (%s), loaded %v ago\n", s.Config.Path, s.Config.Hash, s.Now.Sub(s.Config.LoadedAt).Truncate(time.Second))
	if s.Config.Stale != "" {
		_, _ = fmt.Fprintf(w, "\t%s\n", s.Config.Stale)
	}
	if last := s.Config.Last; last != nil && !last.OK {
		_, _ = fmt.Fprintf(w, "\tthe last reload, %v ago, failed: %s\n", s.Now.Sub(last.At).Truncate(time.Second), OneLine(last.Error))
	}
	if s.Storage != nil {
		_, _ = fmt.Fprintf(w, "storage\t%s\n\t%s\n", OneLine(s.Storage.Message), OneLine(s.Storage.Hint))
	}
	_, _ = fmt.Fprintf(w, "traffic\t%.1f requests/s, %.1f failing, p50 %.1f ms, p99 %.1f ms, %d under way, %d connections\n",
		s.Traffic.Rate, s.Traffic.Failing, s.Traffic.P50, s.Traffic.P99, s.Traffic.UnderWay, s.Connections.Open)
	_, _ = fmt.Fprintf(w, "sites\t%d\n", len(s.Sites))
	_, _ = fmt.Fprintln(w)
	Certificates(w, s.Certificates)
	if len(s.Credentials) > 0 {
		_, _ = fmt.Fprintln(w, "\nCREDENTIAL\tSTATE\tZONES\tFINGERPRINT\tERROR")
		for _, c := range s.Credentials {
			state := "good"
			if !c.OK {
				state = "failing"
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.Name, state, strings.Join(c.Zones, ","), orDash(c.Fingerprint), OneLine(c.Error))
		}
	}
	if len(s.Upstreams) > 0 {
		_, _ = fmt.Fprintln(w, "\nSERVER\tUPSTREAM\tSTATE\tUNDER WAY\tWAITING\tCAUSE")
		for _, u := range s.Upstreams {
			for _, m := range u.Servers {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", m.Address, u.Name, m.State, m.UnderWay, m.Waiting, OneLine(m.Cause))
			}
		}
	}
	if len(s.Events) > 0 {
		_, _ = fmt.Fprintln(w, "\nWENT WRONG\tTIMES\tWHAT\tTO DO")
		for _, e := range s.Events[:min(len(s.Events), 10)] {
			_, _ = fmt.Fprintf(w, "%v ago\t%d\t%s\t%s\n", s.Now.Sub(e.At).Truncate(time.Second), e.Count, OneLine(strings.TrimSuffix(e.Message+": "+e.Error, ": ")), OneLine(e.Hint))
		}
	}
}

// Certificates prints a line for each name.
func Certificates(w io.Writer, list []admin.Certificate) {
	_, _ = fmt.Fprintln(w, "NAME\tSTATE\tDAYS\tISSUER\tZONE\tCREDENTIAL\tERROR")
	for _, c := range list {
		name := c.Name
		if c.CoveredBy != "" {
			name += " (" + c.CoveredBy + ")"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, c.State, c.Left(), c.Issuer, orDash(c.Zone), orDash(c.Credential), OneLine(c.Error))
	}
}

// Reload prints what came of a reload; an error of it is for standard error.
func Reload(w io.Writer, r *admin.Reload) {
	for _, p := range r.Problems {
		_, _ = fmt.Fprintf(w, "%s: %s\n", p.Place, p.Message)
		if p.Hint != "" {
			_, _ = fmt.Fprintf(w, "  hint: %s\n", p.Hint)
		}
	}
	switch {
	case r.OK && r.Changed:
		_, _ = fmt.Fprintln(w, "configuration reloaded")
	case r.OK:
		_, _ = fmt.Fprintln(w, "configuration reloaded; the file is the same as before")
	}
}

// Plan prints what a configuration would change.
func Plan(w io.Writer, p *admin.Plan) {
	for _, one := range p.Problems {
		_, _ = fmt.Fprintf(w, "%s: %s\n", one.Place, one.Message)
		if one.Hint != "" {
			_, _ = fmt.Fprintf(w, "  hint: %s\n", one.Hint)
		}
	}
	switch {
	case !p.OK && p.Restart == "":
		return
	case p.Against == "":
		_, _ = fmt.Fprintln(w, "no instance runs: compared with nothing")
	case len(p.Changes) == 0:
		_, _ = fmt.Fprintf(w, "nothing changes (%s is loaded)\n", p.Against)
		return
	default:
		_, _ = fmt.Fprintf(w, "%s is loaded, %s is planned\n", p.Against, p.Hash)
	}
	_, _ = fmt.Fprintln(w, "\nWHAT\tKIND\tNAME\tCONNECTIONS\tDETAIL")
	for _, c := range p.Changes {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", c.What, c.Kind, c.Name, c.Connections, OneLine(c.Detail))
	}
}

// Findings prints a line for each finding and its hint below it.
func Findings(w io.Writer, findings []doctor.Finding) {
	for _, f := range findings {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", f.Level, f.Check, strings.Map(harmless, OneLine(f.Message)))
		if f.Hint != "" {
			_, _ = fmt.Fprintf(w, "\t\thint: %s\n", strings.Map(harmless, OneLine(f.Hint)))
		}
	}
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// harmless replaces what could command a terminal: paths are printed decoded.
func harmless(r rune) rune {
	if !unicode.IsPrint(r) {
		return '\uFFFD'
	}
	return r
}

// OneLine makes the first text that is not empty fit into a table.
func OneLine(texts ...string) string { return strings.Join(strings.Fields(cmp.Or(texts...)), " ") }

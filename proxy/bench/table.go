package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// printTable prints a result as Markdown: processor time, and below it
// throughput, latency and memory. It is meant to be pasted into the README.
func printTable(w io.Writer, r *result) error {
	if len(r.Cases) == 0 {
		return fmt.Errorf("the result has no cases")
	}
	var text strings.Builder
	m := r.Machine
	fmt.Fprintf(&text, "Measured on %s with %s, %d cores, %s; %s; %d workers each. Medians of %s of %s, interleaved; in parentheses the smallest and the largest. Meanwhile other programs used up to %.0f %% of the processors.\n",
		r.Date.Format("2006-01-02"), m.CPU, m.Cores, m.Kernel, versions(r), r.Workers, plural(r.Rounds, "round"), plural(r.Seconds, "second"), 100*r.others())
	if !r.Complete {
		fmt.Fprintf(&text, "\nThe run was interrupted.\n")
	}
	text.WriteString("\n")
	var notes []string
	row(&text, append([]string{"processor time"}, r.columns(slices.Contains(r.Proxies, reference))...))
	row(&text, repeat("---", len(r.Proxies)+1))
	for _, c := range r.Cases {
		cells := []string{c.Title}
		for _, f := range c.Figures {
			cells = append(cells, f.processorTime())
			notes = append(notes, note(c, f)...)
		}
		row(&text, cells)
	}
	text.WriteString("\n")
	row(&text, append([]string{"per second / p99 / peak memory (PSS)"}, r.columns(false)...))
	row(&text, repeat("---", len(r.Proxies)+1))
	for _, c := range r.Cases {
		cells := []string{c.Title}
		for _, f := range c.Figures {
			cells = append(cells, f.throughput())
		}
		row(&text, cells)
	}
	if len(notes) > 0 {
		fmt.Fprintf(&text, "\n%s\n", strings.Join(notes, "\n"))
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// others is the largest share of the processors that programs outside of the
// bench used during any trial under load.
func (r *result) others() (most float64) {
	for _, c := range r.Cases {
		for _, f := range c.Figures {
			if f.Others != nil && f.PerIdle == nil {
				most = max(most, f.Others.Max)
			}
		}
	}
	return most
}

// columns are the names of the proxies; the reference says its unit if the
// others are ratios to it.
func (r *result) columns(ratios bool) []string {
	var names []string
	for _, name := range r.Proxies {
		switch {
		case ratios && name == reference:
			name += ", µs"
		case ratios:
			name += " ÷ " + reference
		}
		names = append(names, name)
	}
	return names
}

func row(text *strings.Builder, cells []string) {
	text.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func repeat(cell string, n int) []string {
	cells := make([]string, n)
	for i := range cells {
		cells[i] = cell
	}
	return cells
}

// processorTime is a cell of the first table: a ratio, or microseconds for the
// reference and where there is none.
func (f figures) processorTime() string {
	switch {
	case f.Failure != "":
		return "-"
	case f.PerIdle != nil:
		return f.PerIdle.ranged() + " KiB each"
	case f.Proxy == reference:
		return f.CPU.ranged()
	case f.Ratio != nil:
		return f.Ratio.ranged()
	}
	return f.CPU.ranged() + " µs"
}

// throughput is a cell of the second table.
func (f figures) throughput() string {
	switch {
	case f.Failure != "":
		return "-"
	case f.Rate == nil:
		return mebibytes(f.PeakPSS)
	}
	return fmt.Sprintf("%s / %s ms / %s", f.Rate, f.P99, mebibytes(f.PeakPSS))
}

// note says why a proxy has no figure, or what failed while it was measured.
func note(c caseResult, f figures) []string {
	switch {
	case f.Failure != "":
		return []string{fmt.Sprintf("- %s, %s: %s", c.Title, f.Proxy, strings.Join(strings.Fields(f.Failure), " "))}
	case len(f.Failed) > 0:
		return []string{fmt.Sprintf("- %s, %s: of %s answers, besides: %s", c.Title, f.Proxy, number(f.Requests), failures(f))}
	}
	return nil
}

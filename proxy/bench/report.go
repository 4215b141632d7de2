package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// printCase prints one case for a person at a terminal.
func printCase(w io.Writer, c caseResult) {
	how := fmt.Sprintf("%s, %d connections", c.Generator, c.Connections)
	if c.Streams > 0 {
		how += fmt.Sprintf(", %d at a time", c.Streams)
	}
	_, _ = fmt.Fprintf(w, "\n%s: %s (%s)\n", c.Name, c.Title, how)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "\tcpu us/%s\tratio\tper s\tp50 ms\tp99 ms\tpeak PSS\tpeak RSS\tKiB/idle\tothers\tfailed\n", c.Unit)
	for _, f := range c.Figures {
		if f.Failure != "" {
			continue // a row without all cells would part the columns
		}
		_, _ = fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Proxy, f.CPU.ranged(), f.Ratio.ranged(), f.Rate, f.P50, f.P99,
			mebibytes(f.PeakPSS), mebibytes(f.PeakRSS), f.PerIdle.ranged(), f.Others, failures(f))
	}
	_ = table.Flush()
	for _, f := range c.Figures {
		if f.Failure != "" {
			_, _ = fmt.Fprintf(w, "  %s  -  %s\n", f.Proxy, strings.Join(strings.Fields(f.Failure), " "))
		}
	}
}

// String is the median, or "-".
func (s *spread) String() string {
	if s == nil {
		return "-"
	}
	return number(s.Median)
}

// ranged is the median with the smallest and the largest.
func (s *spread) ranged() string {
	if s == nil || s.Min == s.Max {
		return s.String()
	}
	return fmt.Sprintf("%s (%s-%s)", number(s.Median), number(s.Min), number(s.Max))
}

// number has three significant digits, and commas between thousands.
func number(value float64) string {
	switch {
	case value < 0:
		return "-" + number(-value)
	case value < 9.995:
		return strconv.FormatFloat(value, 'f', 2, 64)
	case value < 99.95:
		return strconv.FormatFloat(value, 'f', 1, 64)
	}
	text := strconv.FormatFloat(value, 'f', 0, 64)
	if len(text) > 3 { // three digits and noughts
		rounded, _ := strconv.ParseFloat(strconv.FormatFloat(value, 'e', 2, 64), 64)
		text = strconv.FormatFloat(rounded, 'f', 0, 64)
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func mebibytes(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return number(float64(bytes)/(1<<20)) + " MiB"
}

// failures lists what failed under load, or "0".
func failures(f figures) string {
	if len(f.Failed) == 0 {
		return "0"
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(f.Failed)) {
		parts = append(parts, fmt.Sprintf("%d x %s", f.Failed[reason], reason))
	}
	return strings.Join(parts, ", ")
}

// printMachine prints the lines above a report.
func printMachine(w io.Writer, r *result) {
	m := r.Machine
	_, _ = fmt.Fprintf(w, "%s, %d cores, %s, %s; %s\n", m.CPU, m.Cores, mebibytes(m.Memory), m.Kernel, r.Date.Format("2006-01-02 15:04 MST"))
	_, _ = fmt.Fprintf(w, "%s; %d workers each; %s of %s for each figure\n", versions(r), r.Workers, plural(r.Rounds, "round"), plural(r.Seconds, "second"))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// versions lists the proxies in the order of the rounds, then the rest.
func versions(r *result) string {
	names := slices.Clone(r.Proxies)
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for i, name := range names {
		names[i] = strings.TrimSpace(name + " " + r.Versions[name])
	}
	return strings.Join(names, ", ")
}

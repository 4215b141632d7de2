package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a configuration file.
type Position struct {
	// File is the name that was given to Load or Parse.
	File string
	// Line counts from 1. 0 means the file as a whole.
	Line int
	// Column counts characters (not bytes) from 1. 0 means the whole line.
	Column int
}

// String returns "file:3:5", "file" where there is no line, and "" for the
// zero Position.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
}

// Problem is one thing that is wrong with a configuration, written for the
// person who wrote the file. None of its texts ever holds a secret.
type Problem struct {
	Position

	// Path is the key that the problem is about, such as
	// "sites[app.example.com].tls.certificate" or "cloudflare[0].zones[1]";
	// empty when it is about the file.
	Path string

	// Message says what is wrong: lower case, no full stop.
	Message string

	// Hint says what to do. It may be empty, and may have several lines.
	Hint string

	// Excerpt is the line of the file with carets under the place, ready to
	// print, without a final newline. It is empty when the line may hold a
	// secret and when the place is not in a file.
	Excerpt string

	// Warning marks what is legal but looks like a mistake. It does not make
	// the configuration invalid.
	Warning bool
}

// String renders the problem as Problems.Error does.
func (p Problem) String() string {
	var b strings.Builder
	if at := p.Position.String(); at != "" {
		b.WriteString(at + ": ")
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	if p.Excerpt != "" {
		b.WriteString("\n" + p.Excerpt)
	}
	if p.Hint != "" {
		b.WriteString("\n  hint: " + strings.ReplaceAll(p.Hint, "\n", "\n        "))
	}
	return b.String()
}

// Problems is everything that was found wrong, all at once. It is an error;
// use Err to learn whether the configuration can be used.
type Problems []Problem

// Error renders all problems, warnings included, in the order of the file and
// with an empty line between two. The text is stable from run to run.
func (p Problems) Error() string {
	texts := make([]string, 0, len(p))
	for _, problem := range p.sorted() {
		texts = append(texts, problem.String())
	}
	return strings.Join(texts, "\n\n")
}

// Err returns nil when there is no problem that is not a Warning, else all the
// problems.
func (p Problems) Err() error {
	if slices.ContainsFunc(p, func(one Problem) bool { return !one.Warning }) {
		return p
	}
	return nil
}

// sorted returns the problems by position; those at one place keep the order
// in which they were found.
func (p Problems) sorted() Problems {
	sorted := slices.Clone(p)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
	return sorted
}

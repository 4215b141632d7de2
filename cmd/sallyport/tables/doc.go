// Package tables prints for people what the commands were answered: how a
// process is, what would become of a request, what the doctor found. It knows
// the types of the answers and nothing else of their rooms; it asks nobody and
// keeps nothing. Except for Answer, a table's columns are parted by tabs, for a
// [text/tabwriter.Writer] that the caller flushes.
//
//	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
//	tables.Status(w, &status)
//	return w.Flush()
package tables

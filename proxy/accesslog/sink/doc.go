// Package sink takes lines of log and writes them to a file or a stream on a
// goroutine of its own, so that no request ever waits for a disk, a pipe or a
// terminal. What does not fit into its bounded queue is dropped and counted,
// and the next line that fits is preceded by one that says how many.
//
// A file is rotated by size, and old ones are removed by number and age; after
// Reopen it is opened anew, which is what logrotate asks for.
//
// The package is a leaf. A [Sink] belongs to who calls [Sink.Run], which
// returns when all that was taken has been written, or cannot be.
//
//	s, err := sink.Open(sink.Options{Path: "/var/log/sallyport/access.log", Size: 100 << 20, Keep: 5})
//	if err != nil {
//		return err
//	}
//	go s.Run(ctx) // by an owner who waits
//	s.Write([]byte("a line\n"))
package sink

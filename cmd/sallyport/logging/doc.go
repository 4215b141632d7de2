// Package logging is the process's own log: its formats and level, the outputs
// that it shares with access logs, what a reload changes of it, and what the
// status page remembers. Writing never blocks who logs; that is
// proxy/accesslog/sink's doing.
//
// New opens and starts nothing, Start owns the writing goroutines, Prepare is
// the first half of a reload. The package knows no other room of cmd.
//
//	log, err := logging.New(logging.Options{Config: cfg.Log, Stdout: os.Stdout, Stderr: os.Stderr})
//	if err != nil {
//		return err
//	}
//	defer log.Start()()
package logging

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	once := flag.Bool("once", false, "exit after the story: 0 if every step of it was seen to hold, else 1")
	binary := flag.String("sallyport", "", "sallyport `binary` to use (default: built from this checkout)")
	flag.Parse()
	// The stand-ins run in this process, which is not sealed: under a poisoned
	// GODEBUG their HTTP servers would talk over the story.
	log.SetOutput(io.Discard)
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "sandbox: no arguments are taken; see --help")
		os.Exit(2)
	}
	if err := run(*binary, *once); err != nil {
		fmt.Fprintf(os.Stderr, "\nsandbox: %v\n", err)
		os.Exit(1)
	}
}

// run tells the story and, unless once is set, keeps everything running until
// the user has seen enough.
func run(binary string, once bool) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	dir, err := os.MkdirTemp("", "sallyport-sandbox-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	story := &story{dir: dir, binary: binary, out: os.Stdout}
	defer func() { err = errors.Join(err, story.close()) }()
	if err := story.tell(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // Ctrl-C is a way to end it, not a failure
		}
		return err
	}
	if once {
		return nil
	}
	story.sayf("\nEverything keeps running; certificates go on being renewed. Ctrl-C ends it.\n")
	return story.wait(ctx)
}

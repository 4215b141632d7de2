package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/config"
)

// Exit codes. They are part of the command line's contract: scripts rely on
// them, and the README lists them.
const (
	exitOK      = 0
	exitFailure = 1 // it could not be done; the message says why
	exitUsage   = 2 // the command line is wrong
	exitConfig  = 3 // the configuration, or a file it names, is wrong
	exitOnline  = 4 // check --online, doctor: a credential does not do what it is listed for
)

// defaultConfig is where run, check and healthcheck look for the configuration.
const defaultConfig = "/etc/sallyport/sallyport.yaml"

func main() {
	sealed := seal()
	denyCoreDumps()
	os.Exit(execute(sealed, os.Args[1:], os.Stdout, os.Stderr))
}

// denyCoreDumps keeps tokens and private keys out of core files. The limit can
// always be lowered; should that fail, the Go runtime still dumps no core
// unless GOTRACEBACK asks for one, and there is no environment to ask in.
func denyCoreDumps() {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}

// execute runs one command line and returns the exit code.
func execute(sealed sealing, args []string, stdout, stderr io.Writer) int {
	root := newRoot(sealed)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	report(stderr, err)
	if exit, ok := errors.AsType[*exitError](err); ok {
		return max(exit.code, exitFailure) // an error is never a success
	}
	if _, ok := errors.AsType[config.Problems](err); ok {
		return exitConfig
	}
	return exitFailure
}

// newRoot builds the command tree.
func newRoot(sealed sealing) *cobra.Command {
	root := &cobra.Command{
		Use:   "sallyport",
		Short: "A TLS reverse proxy that obtains and renews its own certificates",
		Long: "Sallyport routes HTTPS requests to your services and keeps their certificates\n" +
			"fresh by ACME DNS-01 through Cloudflare. Everything it does follows from its\n" +
			"configuration file; environment variables are never consulted.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitError{code: exitUsage, err: err, hint: "see " + cmd.CommandPath() + " --help"}
	})
	root.AddCommand(
		newRunCommand(sealed),
		newCheckCommand(sealed),
		newDevCommand(sealed),
		newDoctorCommand(sealed),
		newHealthcheckCommand(),
		newSchemaCommand(),
		newVersionCommand(),
	)
	root.AddCommand(operateCommands()...)
	for _, cmd := range root.Commands() {
		cmd.Args = usageArgs(cmd.Args)
		if cmd.ValidArgsFunction == nil {
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
	}
	root.Args = usageArgs(root.Args)
	return root
}

// usageArgs makes a complaint about arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &exitError{code: exitUsage, err: err, hint: "see " + cmd.CommandPath() + " --help"}
		}
		return nil
	}
}

// exitError is an error with its exit code and, if there is one, its cure.
type exitError struct {
	code int
	err  error
	hint string
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }
func (e *exitError) Hint() string  { return e.hint }

// report prints an error for a person: the configuration's problems as they
// render themselves, anything else on one line with its hints below.
func report(w io.Writer, err error) {
	if problems, ok := errors.AsType[config.Problems](err); ok {
		_, _ = fmt.Fprintln(w, problems.Error())
		return
	}
	_, _ = fmt.Fprintf(w, "sallyport: %v\n", err)
	if hint := hintOf(err); hint != "" {
		_, _ = fmt.Fprintf(w, "hint: %s\n", hint)
	}
}

// hintOf finds the cure in an error's chain.
func hintOf(err error) string {
	var hinted interface {
		error
		Hint() string
	}
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}

// configFlag adds --config.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", defaultConfig, "configuration `file`")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

// credentialsFlag adds --credentials-dir.
func credentialsFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "credentials-dir", "", "`directory` of systemd credentials, for `credential: NAME` in the configuration (%d in a unit file)")
}

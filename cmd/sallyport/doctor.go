package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/cmd/sallyport/doctor"
	"github.com/sallyport/sallyport/cmd/sallyport/tables"
)

// doctorTimeout bounds doctor as a whole; what has not answered by then is
// reported as unknown.
const doctorTimeout = 2 * time.Minute

func newDoctorCommand(sealed sealing) *cobra.Command {
	var o operator
	var credentialsDir string
	d := doctor.Options{Ignored: sealed.ignored, Misleading: ignoredNames, MisleadingHint: ignoredHint}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for whatever is wrong, before or during trouble",
		Long: "Look at everything that can be looked at, and say in one line each what is wrong and\n" +
			"what to do: the configuration and its files, the storage, the ports, variables that\n" +
			"mislead, the running instance, renewals that are due; and, unless --offline, the CA\n" +
			"and its clock, each token, CAA records and the DNS of each name. Nothing is changed,\n" +
			"except that --write-probe writes and deletes a TXT record in each zone.\n\n" +
			"Run it as the user that sallyport runs as, where it runs: in its container, too.\n\n" +
			"Exit codes: 0 nothing is wrong, though there may be warnings; 1 something is; 2 wrong\n" +
			"command line; 3 the configuration or a file it names is wrong; 4 a credential is not\n" +
			"fit for its zones.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.Offline && d.WriteProbe {
				return &exitError{code: exitUsage, err: errors.New("--offline and --write-probe exclude each other"), hint: "see sallyport doctor --help"}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), doctorTimeout)
			defer cancel()
			roots, err := publicRoots()
			if err != nil {
				return err
			}
			if d.Config, d.Settings, d.Problems, err = inspect(o.path, credentialsDir, roots); err != nil {
				return err
			}
			d.Path, d.Socket = o.path, o.socket
			findings := doctor.Examine(ctx, d)
			if err := o.print(cmd.OutOrStdout(), findings, func(w io.Writer) { tables.Findings(w, findings) }); err != nil {
				return err
			}
			return verdict(findings)
		},
	}
	configFlag(cmd, &o.path)
	credentialsFlag(cmd, &credentialsDir)
	cmd.Flags().StringVar(&o.socket, "socket", "", "control socket `path` (default: what the configuration says)")
	cmd.Flags().BoolVar(&d.Offline, "offline", false, "ask nobody outside this machine")
	cmd.Flags().BoolVar(&d.WriteProbe, "write-probe", false, "write and delete a TXT record in each zone, to see whether the tokens may")
	cmd.Flags().StringVar(&d.Unit, "unit", "", "also look at this systemd unit `file`")
	cmd.Flags().StringVar(&d.Compose, "compose", "", "also look at this compose `file`")
	return o.withJSON(cmd)
}

// verdict turns findings into an exit code.
func verdict(findings []doctor.Finding) error {
	wrong := 0
	code := exitFailure
	for _, f := range findings {
		if f.Level != doctor.Error {
			continue
		}
		wrong++
		switch {
		case f.Check == "config":
			code = exitConfig
		case f.Check == "token" && code != exitConfig:
			code = exitOnline
		}
	}
	if wrong == 0 {
		return nil
	}
	return &exitError{code: code, err: fmt.Errorf("%d found wrong", wrong), hint: "the lines that begin with ERROR say what and what to do"}
}

package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy"
	"github.com/sallyport/sallyport/tlsmgr"
	"github.com/sallyport/sallyport/tlsmgr/cloudflare"
)

// onlineTimeout bounds check --online as a whole.
const onlineTimeout = time.Minute

func newCheckCommand(sealed sealing) *cobra.Command {
	var (
		path, credentialsDir string
		online               bool
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration and print the plan of its certificates",
		Long: "Validate the configuration and the files it names, and print which certificate\n" +
			"each name gets: issuer, challenge, zone and credential. Nothing is changed and,\n" +
			"without --online, nothing is contacted.\n\n" +
			"With --online each token is tried, read only: is it alive, does it see the\n" +
			"listed zones, may it read their DNS records, does it reach more than it needs.\n\n" +
			"Exit codes: 0 all is well, 1 the check itself failed, 2 wrong command line,\n" +
			"3 the configuration or a file it names is wrong, 4 a credential is not fit for\n" +
			"its zones or could not be tried.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			settings, err := checkConfig(out, path, credentialsDir)
			if names := sealed.ignored; len(names) > 0 {
				_, _ = fmt.Fprintf(out, "\nignored environment variables: %s\n%s\n", strings.Join(names, " "), ignoredHint)
			}
			if err != nil || !online {
				return err
			}
			return checkOnline(cmd.Context(), out, settings)
		},
	}
	configFlag(cmd, &path)
	credentialsFlag(cmd, &credentialsDir)
	cmd.Flags().BoolVar(&online, "online", false, "also try each credential against the Cloudflare API, read only")
	return cmd
}

// inspect loads a configuration and reads everything that it names, but starts
// nothing. The configuration is nil if there is none to speak of.
func inspect(path, credentialsDir string, roots *x509.CertPool) (*config.Config, tlsmgr.Settings, config.Problems, error) {
	cfg, problems := config.Load(path)
	if cfg == nil {
		return nil, tlsmgr.Settings{}, problems, nil
	}
	settings, more := tlsmgr.FromConfig(cfg, tlsmgr.FromOptions{CredentialsDir: credentialsDir, Roots: roots})
	problems = append(problems, more...)
	if problems.Err() == nil {
		// What the servers' side names is read as well. Nothing is started.
		_, err := proxy.New(proxy.Options{Logger: zap.NewNop(), Roots: roots}).Prepare(cfg)
		if more, ok := errors.AsType[config.Problems](err); ok {
			problems = append(problems, more...)
		} else if err != nil {
			return cfg, settings, problems, err
		}
	}
	return cfg, settings, problems, nil
}

// checkConfig validates the file at path with everything it names and prints
// the plan. All problems come back as one error.
func checkConfig(out io.Writer, path, credentialsDir string) (tlsmgr.Settings, error) {
	roots, err := publicRoots()
	if err != nil {
		return tlsmgr.Settings{}, err
	}
	cfg, settings, problems, err := inspect(path, credentialsDir, roots)
	if err != nil {
		return settings, err
	}
	if err := problems.Err(); err != nil {
		return settings, problems
	}
	if len(problems) > 0 {
		_, _ = fmt.Fprintln(out, problems.Error())
	}
	_, _ = fmt.Fprintf(out, "%s: valid\n\n", path)
	return settings, printPlan(out, settings.Plan, cfg.ACME.CA)
}

// printPlan prints a line for each name that a certificate was asked for; ca is
// the CA as the configuration calls it.
func printPlan(out io.Writer, plan tlsmgr.Plan, ca string) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(table, strings.Join(cells, "\t")) }
	row("NAME", "ISSUER", "CHALLENGE", "ZONE", "CREDENTIAL")
	for _, entry := range plan {
		switch {
		case entry.CoveredBy != "":
			row(entry.Name, "covered by "+entry.CoveredBy, "-", "-", "-")
		case entry.Issuer == tlsmgr.IssuerFile:
			row(entry.Name, "file "+entry.CertificateFile, "-", "-", "-")
		case entry.Issuer == tlsmgr.IssuerInternal:
			row(entry.Name, "internal CA", "-", "-", "-")
		default:
			row(entry.Name, ca, entry.Challenge, entry.Zone, entry.Credential)
		}
	}
	return table.Flush()
}

// checkOnline tries every credential and prints an answer per zone.
func checkOnline(ctx context.Context, out io.Writer, settings tlsmgr.Settings) error {
	ctx, cancel := context.WithTimeout(ctx, onlineTimeout)
	defer cancel()
	options := settings.Cloudflare
	options.Logger = zap.NewNop()
	mux, err := cloudflare.New(options)
	if err != nil {
		return err
	}
	var unfit, untried []string
	for _, answer := range mux.Preflight(ctx) {
		_, _ = fmt.Fprintf(out, "\n%s\n", strings.TrimSpace(answer.String()))
		switch {
		case answer.Err() == nil:
		case answer.Temporary():
			untried = append(untried, answer.Credential)
		default:
			unfit = append(unfit, answer.Credential)
		}
	}
	var errs []error
	if len(unfit) > 0 {
		errs = append(errs, fmt.Errorf("not fit for use: credential %s", strings.Join(unfit, ", ")))
	}
	if len(untried) > 0 {
		errs = append(errs, fmt.Errorf("could not be tried: credential %s", strings.Join(untried, ", ")))
	}
	if len(errs) > 0 {
		return &exitError{
			code: exitOnline,
			err:  errors.Join(errs...),
			hint: "see the answers above; running instances keep serving the certificates they have",
		}
	}
	return nil
}

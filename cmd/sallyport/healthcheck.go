package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/proxy/admin"
)

// healthTimeout bounds a health check. Container engines wait 30 s by default.
const healthTimeout = 5 * time.Second

// errNoSocket is asked and cannot be answered.
var errNoSocket = errors.New("the control socket is switched off")

func newHealthcheckCommand() *cobra.Command {
	var o operator
	return o.withJSON(o.command("healthcheck", "Ask the running instance whether it is well, for HEALTHCHECK",
		"Ask the running instance over its control socket whether it is well. Exit code 0\nif it is, 1 if it is not or does not answer.",
		cobra.NoArgs, func(ctx context.Context, c *admin.Client, out io.Writer, _ []string) error {
			ctx, cancel := context.WithTimeout(ctx, healthTimeout)
			defer cancel()
			report, err := c.Report(ctx)
			if err != nil {
				return err
			}
			if err := o.print(out, report, func(w io.Writer) {
				if report.Err() == nil {
					_, _ = fmt.Fprintln(w, "well")
				}
			}); err != nil {
				return err
			}
			return report.Err()
		}))
}

package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/admin"
)

// healthTimeout bounds a health check. Container engines wait 30 s by default.
const healthTimeout = 5 * time.Second

// errNoSocket is asked and cannot be answered.
var errNoSocket = errors.New("the control socket is switched off")

func newHealthcheckCommand() *cobra.Command {
	var path, socket string
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the running instance whether it is well, for HEALTHCHECK",
		Long: "Ask the running instance over its control socket whether it is well. Exit code 0\n" +
			"if it is, 1 if it is not or does not answer.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if socket == "" {
				cfg, problems := config.Load(path)
				if err := problems.Err(); err != nil {
					return err
				}
				if socket = cfg.SocketPath(); socket == "" {
					return &exitError{
						code: exitConfig,
						err:  errNoSocket,
						hint: "remove `admin: {socket: off}` from the configuration",
					}
				}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), healthTimeout)
			defer cancel()
			return admin.Health(ctx, socket)
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&socket, "socket", "", "control socket `path` (default: what the configuration says)")
	return cmd
}

package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/config"
)

func newDevCommand(sealed sealing) *cobra.Command {
	options := devOptions{}
	cmd := &cobra.Command{
		Use:   "dev --to http://127.0.0.1:3000",
		Short: "HTTPS on localhost in front of a development server, without a configuration",
		Long: "Serve https://localhost and every name under it (app.localhost, api.localhost)\n" +
			"from a development server, with certificates of a CA made for this directory.\n" +
			"All data is kept in ./.sallyport; delete it to start over.",
		Example: "  sallyport dev --to http://127.0.0.1:3000\n" +
			"  sallyport dev --to 3000 --listen 127.0.0.1:443",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if options.to == "" {
				return &exitError{code: exitUsage, err: errNoServer, hint: "sallyport dev --to http://127.0.0.1:3000"}
			}
			source, err := options.configuration()
			if err != nil {
				return err
			}
			return serve(cmd.Context(), serveOptions{
				sealed: sealed,
				load:   func() (*config.Config, config.Problems) { return config.Parse("dev", source) },
				stdout: cmd.OutOrStdout(),
				stderr: cmd.ErrOrStderr(),
				ready: func(e *edge) {
					_, _ = fmt.Fprint(cmd.OutOrStdout(), options.greeting(e.addresses()))
				},
			})
		},
	}
	cmd.Flags().StringVar(&options.to, "to", "", "`server` to send requests to: an address, host:port or just a port")
	cmd.Flags().StringVar(&options.listen, "listen", "127.0.0.1:8443", "`address` for HTTPS")
	cmd.Flags().StringVar(&options.dir, "dir", ".sallyport", "`directory` for the CA and certificates")
	return cmd
}

// errNoServer is dev without --to.
var errNoServer = errors.New("--to is missing: the server to send requests to")

// devOptions is the command line of dev.
type devOptions struct{ to, listen, dir string }

// configuration writes the configuration that dev stands for, so that it runs
// on the path that every configuration takes.
func (o *devOptions) configuration() ([]byte, error) {
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, err
	}
	o.dir = dir
	server := strconv.Quote(devServer(o.to))
	return fmt.Appendf(nil, `listen: {http: off, https: %q}
storage: %q
sites:
  localhost: {proxy: %s, tls: internal}
  "*.localhost": {proxy: %s, tls: internal}
`, o.listen, dir, server, server), nil
}

// devServer completes what people type: 3000 and localhost:3000 are enough.
func devServer(to string) string {
	if _, err := strconv.ParseUint(to, 10, 16); err == nil {
		return "http://127.0.0.1:" + to
	}
	if !strings.Contains(to, "://") && !strings.HasPrefix(to, "unix:") {
		return "http://" + to
	}
	return to
}

// greeting tells how to use what runs now.
func (o *devOptions) greeting(https []net.Addr) string {
	origin := "https://localhost"
	if len(https) > 0 {
		if _, port, err := net.SplitHostPort(https[0].String()); err == nil && port != "443" {
			origin += ":" + port
		}
	}
	root := filepath.Join(o.dir, "localca", "root.pem")
	return fmt.Sprintf(`
  %s  ->  %s   (and every *.localhost)

  try it:    curl --cacert %s %s/
  trust it:  import %s
             into the browser as a certificate authority for websites
  stop it:   Ctrl-C

`, origin, devServer(o.to), root, origin, root)
}

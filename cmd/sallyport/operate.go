package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/cmd/sallyport/tables"
	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/admin"
)

// This file has the commands that ask the running process and tell it what to
// do, all through its control socket.

// operateTimeout bounds a command. A reload reads files and may look names up.
const operateTimeout = 30 * time.Second

// completionTimeout bounds how long somebody waits who has pressed the tab key.
const completionTimeout = 2 * time.Second

// operator is what these commands have in common.
type operator struct {
	path, socket string
	json         bool
}

// client finds the socket.
func (o *operator) client() (*admin.Client, error) {
	if o.socket != "" {
		return admin.NewClient(o.socket), nil
	}
	cfg, problems := config.Load(o.path)
	if cfg == nil {
		return nil, problems.Err() // with other problems the socket can be found all the same
	}
	socket := cfg.SocketPath()
	if socket == "" {
		return nil, &exitError{code: exitConfig, err: errNoSocket, hint: "remove `admin: {socket: off}` from the configuration"}
	}
	return admin.NewClient(socket), nil
}

// command makes one. run gets a client and a bounded context.
func (o *operator) command(use, short, long string, args cobra.PositionalArgs, run func(ctx context.Context, c *admin.Client, out io.Writer, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.client()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), operateTimeout)
			defer cancel()
			return run(ctx, c, cmd.OutOrStdout(), args)
		},
	}
	configFlag(cmd, &o.path)
	cmd.Flags().StringVar(&o.socket, "socket", "", "control socket `path` (default: what the configuration says)")
	return cmd
}

// withJSON adds --json.
func (o *operator) withJSON(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&o.json, "json", false, "print the answer as JSON, as the API of proxy/admin has it")
	return cmd
}

// print prints value as JSON if that is wanted, else as a table.
func (o *operator) print(out io.Writer, value any, table func(io.Writer)) error {
	if !o.json {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		table(w)
		return w.Flush()
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

func operateCommands() []*cobra.Command {
	return []*cobra.Command{
		newStatusCommand(), newCertsCommand(), newReloadCommand(), newPlanCommand(), newUpgradeCommand(), newRenewCommand(),
		newPurgeCommand(), newDrainCommand(), newLogLevelCommand(),
		newExplainCommand(),
	}
}

func newStatusCommand() *cobra.Command {
	var o operator
	return o.withJSON(o.command("status", "Show how the running instance is",
		"Show how the running instance is: configuration, traffic, certificates, credentials,\nservers, and what went wrong lately. Exit code 1 if it is not well or does not answer.",
		cobra.NoArgs, func(ctx context.Context, c *admin.Client, out io.Writer, _ []string) error {
			var s admin.Status
			if err := c.Get(ctx, "/v1/status", &s); err != nil {
				return err
			}
			if err := o.print(out, s, func(w io.Writer) { tables.Status(w, &s) }); err != nil {
				return err
			}
			if len(s.Problems) > 0 {
				return errors.New("not healthy: " + strings.Join(s.Problems, "; "))
			}
			return nil
		}))
}

func newCertsCommand() *cobra.Command {
	var o operator
	return o.withJSON(o.command("certs", "Show the certificates of the running instance",
		"Show each name with the state of its certificate, how long it is valid, and what went wrong.",
		cobra.NoArgs, func(ctx context.Context, c *admin.Client, out io.Writer, _ []string) error {
			var list []admin.Certificate
			if err := c.Get(ctx, "/v1/certificates", &list); err != nil {
				return err
			}
			return o.print(out, list, func(w io.Writer) { tables.Certificates(w, list) })
		}))
}

func newReloadCommand() *cobra.Command {
	var o operator
	return o.withJSON(o.command("reload", "Have the running instance read its configuration again",
		"Have the running instance read its configuration again, wait, and say what came of\nit. Whatever is wrong, the old configuration keeps serving; then the exit code is 1.",
		cobra.NoArgs, func(ctx context.Context, c *admin.Client, out io.Writer, _ []string) error {
			var r admin.Reload
			if err := c.Post(ctx, "/v1/reload", nil, &r); err != nil {
				return err
			}
			if err := o.print(out, r, func(w io.Writer) { tables.Reload(w, &r) }); err != nil || r.OK {
				return err
			}
			return &exitError{err: errors.New(r.Error), hint: r.Hint}
		}))
}

// acting makes a command that has something done.
func (o *operator) acting(use, short, long string, args cobra.PositionalArgs, path string, form func(args []string) url.Values) *cobra.Command {
	return o.withJSON(o.command(use, short, long, args, func(ctx context.Context, c *admin.Client, out io.Writer, args []string) error {
		var done admin.Done
		if err := c.Post(ctx, path, form(args), &done); err != nil {
			return err
		}
		return o.print(out, done, func(w io.Writer) {
			_, _ = fmt.Fprintln(w, done.Message)
		})
	}))
}

// completed makes the shell complete the first argument with what offer returns,
// where the running instance can be asked.
func (o *operator) completed(cmd *cobra.Command, offer func(*admin.Status) []string) *cobra.Command {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		const only = cobra.ShellCompDirectiveNoFileComp
		if len(args) > 0 {
			return nil, only
		}
		c, err := o.client()
		if err != nil {
			return nil, only
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		var s admin.Status
		if c.Get(ctx, "/v1/status", &s) != nil {
			return nil, only
		}
		var list []string
		for _, one := range offer(&s) {
			if strings.HasPrefix(one, begun) {
				list = append(list, one)
			}
		}
		slices.Sort(list)
		return slices.Compact(list), only
	}
	return cmd
}

func newRenewCommand() *cobra.Command {
	var o operator
	return o.completed(o.acting("renew NAME", "Have a certificate renewed now",
		"Have the certificate of a name renewed now, whatever is due. It returns at once;\n`sallyport certs` and the log tell how it went.",
		cobra.ExactArgs(1), "/v1/renew", func(args []string) url.Values { return url.Values{"name": {args[0]}} }),
		func(s *admin.Status) (names []string) {
			for _, c := range s.Certificates {
				names = append(names, c.Name)
			}
			return names
		})
}

func newPurgeCommand() *cobra.Command {
	var o operator
	return o.completed(o.acting("purge HOST PATH", "Forget what caches keep",
		"Forget what caches keep for a host and a path with its query. A path that ends in *\nmeans all that begin like it: sallyport purge app.example.com '/*'",
		cobra.ExactArgs(2), "/v1/purge", func(args []string) url.Values { return url.Values{"host": {args[0]}, "path": {args[1]}} }),
		func(s *admin.Status) (names []string) {
			for _, site := range s.Sites {
				names = append(append(names, site.Name), site.Aliases...)
			}
			return names
		})
}

func newDrainCommand() *cobra.Command {
	var o operator
	var undo bool
	cmd := o.acting("drain SERVER", "Give a server no new requests",
		"Take a server, by its address as the configuration has it, out of the choice, for clients\nwith a sticky cookie too. What is under way there goes on, WebSockets for as long as they\nlike: status counts it. --undo takes that back; a reload keeps it, a restart forgets it.",
		cobra.ExactArgs(1), "/v1/drain", func(args []string) url.Values {
			return url.Values{"server": {args[0]}, "on": {strconv.FormatBool(!undo)}}
		})
	cmd.Flags().BoolVar(&undo, "undo", false, "give it requests again")
	return o.completed(cmd, func(s *admin.Status) (addresses []string) {
		for _, u := range s.Upstreams {
			for _, m := range u.Servers {
				addresses = append(addresses, m.Address)
			}
		}
		return addresses
	})
}

func newLogLevelCommand() *cobra.Command {
	var o operator
	cmd := o.acting("log-level LEVEL", "Change what the running instance logs",
		"Change the level of the log to debug, info, warn or error, until the next reload or restart.",
		cobra.ExactArgs(1), "/v1/log-level", func(args []string) url.Values { return url.Values{"level": {args[0]}} })
	cmd.ValidArgsFunction = cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

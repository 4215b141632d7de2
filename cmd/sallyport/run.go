package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/cmd/sallyport/logging"
	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/pressure"
)

func newRunCommand(sealed sealing) *cobra.Command {
	var path, credentialsDir string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve until told to stop",
		Long: "Serve what the configuration says. Logs go to standard error unless it says otherwise.\n\n" +
			"Signals, as nginx's: HUP reloads the configuration, QUIT finishes what is in\n" +
			"flight and stops, TERM and INT give it a second, USR1 opens log files anew. Each further signal\n" +
			"to stop makes it more urgent.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (*config.Config, config.Problems) { return config.Load(path) }
			return serve(cmd.Context(), serveOptions{
				sealed:         sealed,
				load:           load,
				credentialsDir: credentialsDir,
				stdout:         cmd.OutOrStdout(),
				stderr:         cmd.ErrOrStderr(),
			})
		},
	}
	configFlag(cmd, &path)
	credentialsFlag(cmd, &credentialsDir)
	return cmd
}

// serveOptions is what run and dev differ in.
type serveOptions struct {
	sealed         sealing
	load           func() (*config.Config, config.Problems)
	credentialsDir string
	stdout, stderr io.Writer
	ready          func(*edge) // called once everything listens; may be nil
}

// serve loads the configuration and runs the proxy until a signal stops it.
func serve(ctx context.Context, options serveOptions) (err error) {
	before := options.sealed.service.before
	defer func() { before.report(err) }() // does nothing once it is said that we serve

	if ctx == nil {
		ctx = context.Background()
	}
	if err := options.sealed.service.doubt; err != nil {
		return err
	}
	cfg, problems := options.load()
	if err := problems.Err(); err != nil {
		return err
	}
	logger, err := logging.New(logging.Options{Config: cfg.Log, Stdout: options.stdout, Stderr: options.stderr})
	if err != nil {
		return err
	}
	defer logger.Start()()
	defer zap.RedirectStdLog(logger.Named("library"))()
	logger.Info("starting", zap.String("version", version()), zap.Int("pid", os.Getpid()))
	options.sealed.log(logger.Logger)
	pacer := pressure.NewPacer()
	defer pacer.Stop()
	tuneMemory(cfg.Runtime, pacer, logger.Logger)
	logProblems(logger.Logger, problems)

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE) // a log's reader that is gone stops no proxy

	edge, err := openEdge(ctx, edgeOptions{
		config: cfg, credentialsDir: options.credentialsDir, logging: logger, memory: pacer,
		passed: options.sealed.service.sockets, before: before,
	})
	if err != nil {
		return err
	}
	control := &control{edge: edge, load: options.load, service: options.sealed.service, logging: logger, logger: logger.Logger, pacer: pacer}
	return control.run(ctx, signals, options.ready)
}

// logProblems logs what is legal but suspicious and, at start, what was found
// wrong with the files that the configuration names: the rest is served.
func logProblems(logger *zap.Logger, problems config.Problems) {
	for _, problem := range problems {
		write := logger.Error
		if problem.Warning {
			write = logger.Warn
		}
		write("configuration problem",
			zap.String("at", problem.Position.String()),
			zap.String("key", problem.Path),
			zap.String("problem", problem.Message),
			zap.String("hint", problem.Hint))
	}
}

// Package doctor looks at one installation, before or during trouble: its files
// and storage, ports, variables, the running process, certificates, and the
// outside world that certificates need. Each finding is one line with its cure.
//
// Each file has the steps of one subject: machine.go files, ports and variables,
// deployment.go the unit and the compose file, network.go the CA, tokens and
// DNS. Nothing is changed, except by Options.WriteProbe, and nothing is a gate.
// The package reads no environment: what was found there is given to it. It
// starts goroutines only within Examine. Commands, tables and exit codes are
// cmd/sallyport's; the package knows no other room of cmd but mount.
//
//	for _, f := range doctor.Examine(ctx, doctor.Options{Path: path, Config: cfg, Settings: settings, Problems: problems}) {
//		fmt.Println(f.Level, f.Check, f.Message, f.Hint)
//	}
package doctor

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/proxy/listen"
)

// This file is the only one in the project that reads the environment, and it
// reads it to throw it away. Stale variables that silently beat the configured
// token are why Sallyport exists, so the program does not merely avoid reading
// them: it runs in a process that has none. Clearing them in main would be too
// late, because the runtime and the init functions of libraries have looked by
// then (GODEBUG=http2debug=1 makes net/http print Authorization headers). Only
// a new process image is clean, and anyone can check it:
//
//	tr '\0' '\n' < /proc/$(pidof sallyport)/environ

// sealing is what sealing the environment found and did.
type sealing struct {
	// ignored names, sorted, the variables that would have chosen a
	// credential, a proxy, a root certificate or a debug mode in other
	// programs. Names only: a value may be a secret.
	ignored []string

	// failure says why the process could not be re-executed. The environment
	// was then cleared in place, which is not as good: see above.
	failure error

	// service is what the service manager told us.
	service serviceManager
}

// errSealedTwice stops a second re-execution.
var errSealedTwice = errors.New("the environment was not empty after re-execution")

// serviceManager holds the protocol variables of systemd, the only ones that
// pass the seal. They steer start-up notification and never a credential,
// proxy or path of ours.
type serviceManager struct {
	notifySocket  string        // NOTIFY_SOCKET: where READY=1 goes; empty when nobody asks
	watchdogEvery time.Duration // WATCHDOG_USEC: how often it wants to hear from us; 0 is never
	sockets       []listen.Passed
	before        *predecessor // the process that this one takes over from
	doubt         error        // about the sockets
}

// serviceVariables are the service manager's protocol: sd_notify(3),
// sd_watchdog_enabled(3) and sd_listen_fds(3).
var serviceVariables = []string{
	"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
}

// seal replaces the process by itself with an empty environment, keeping its
// PID, and returns in the new image. Where that is impossible it clears the
// environment in place and says so in the result.
func seal() sealing { return sealBy(syscall.Exec) }

// sealBy is seal with the system call given, so that its refusal can be tested.
func sealBy(exec func(path string, args, environment []string) error) sealing {
	kept, dropped := sift(os.Environ())
	names, second := receiveNames()
	if len(dropped) == 0 || second {
		s := sealing{ignored: names}
		if len(dropped) > 0 { // the kernel adds nothing, so this cannot be; but it must not loop
			s.ignored, s.failure = ignoredNames(dropped), errSealedTwice
		}
		return s.finish()
	}
	names = ignoredNames(dropped)
	return sealing{ignored: names, failure: reexecute(exec, kept, names)}.finish()
}

// finish takes the service manager's variables in and clears the rest.
func (s sealing) finish() sealing {
	s.service.notifySocket = os.Getenv("NOTIFY_SOCKET")
	if forUs(os.Getenv("WATCHDOG_PID")) {
		usec, _ := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
		s.service.watchdogEvery = time.Duration(usec) * time.Microsecond
	}
	if os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		s.service.sockets, s.service.doubt = passedSockets(os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"))
	}
	var err error
	if s.service.before, err = receiveTakeover(); err != nil {
		s.service.doubt = err
	}
	os.Clearenv()
	return s
}

// environment is that of a process which takes over: the service manager's
// protocol, and nothing else.
func (m serviceManager) environment() []string {
	environment := []string{}
	if m.notifySocket != "" {
		environment = append(environment, "NOTIFY_SOCKET="+m.notifySocket)
	}
	if m.watchdogEvery > 0 {
		environment = append(environment, "WATCHDOG_USEC="+strconv.FormatInt(m.watchdogEvery.Microseconds(), 10))
	}
	return environment
}

// forUs reports whether a variable names this process, or nobody.
func forUs(pid string) bool { return pid == "" || pid == strconv.Itoa(os.Getpid()) }

// firstPassed is the descriptor of the first passed socket (sd_listen_fds(3)).
const firstPassed = 3

// passedSockets takes the sockets over that the service manager opened. They are
// not for programs that we start.
func passedSockets(count, names string) ([]listen.Passed, error) {
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 1024 {
		return nil, fmt.Errorf("LISTEN_FDS is %q, which is no number of sockets", count)
	}
	name := strings.Split(names, ":")
	var list []listen.Passed
	for i := range n {
		syscall.CloseOnExec(firstPassed + i)
		one := listen.Passed{File: os.NewFile(uintptr(firstPassed+i), "passed socket")}
		if i < len(name) {
			one.Name = name[i]
		}
		list = append(list, one)
	}
	return list, nil
}

// reexecute replaces the process image. It returns only on failure.
func reexecute(exec func(path string, args, environment []string) error, environment, names []string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if _, err := os.Stat(exe); err != nil {
		exe = "/proc/self/exe" // replaced by an upgrade while we were starting
	}
	closeHandover, err := sendNames(names)
	if err != nil {
		return err
	}
	defer closeHandover()
	return &os.PathError{Op: "exec", Path: exe, Err: exec(exe, os.Args, environment)}
}

// sift parts what passes the seal from what does not.
func sift(environment []string) (kept, dropped []string) {
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains(serviceVariables, name) {
			kept = append(kept, entry)
		} else {
			dropped = append(dropped, entry)
		}
	}
	return kept, dropped
}

// ignoredNames picks, from the dropped variables, those that a person might
// believe to have an effect, and returns their names sorted.
func ignoredNames(dropped []string) []string {
	var names []string
	for _, entry := range dropped {
		if name, _, _ := strings.Cut(entry, "="); mightMislead(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// mightMislead reports whether certbot, lego, Caddy, Traefik, the Go runtime or
// its libraries take a credential, proxy, root certificate or debug mode from a
// variable of this name.
func mightMislead(name string) bool {
	upper := strings.ToUpper(name)
	return strings.HasPrefix(upper, "CF_") ||
		strings.HasPrefix(upper, "CLOUDFLARE_") ||
		strings.HasPrefix(upper, "DNS_CLOUDFLARE_") ||
		strings.HasSuffix(upper, "_PROXY") ||
		slices.Contains([]string{"SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", "SSLKEYLOGFILE"}, upper)
}

// log says, once, what was ignored and where credentials come from instead.
func (s sealing) log(logger *zap.Logger) {
	if s.failure != nil {
		logger.Warn("environment cleared in place, not sealed: this process could not be re-executed",
			zap.Error(s.failure),
			zap.String("hint", "mount /proc and allow execve, so that the process can start itself again with an empty environment"))
	}
	if len(s.ignored) > 0 {
		logger.Warn("environment variables ignored",
			zap.Strings("variables", s.ignored),
			zap.String("hint", ignoredHint))
	}
}

// ignoredHint ends the one line that names what was ignored.
const ignoredHint = "credentials come from the configuration file alone (cloudflare: token_file); no variable is ever consulted, so these can be removed"

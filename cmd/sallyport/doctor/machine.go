package doctor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/cmd/sallyport/mount"
	"github.com/sallyport/sallyport/config"
)

// This file looks at the machine: files, storage, ports, variables.

// found makes a Finding; the check's name is filled in by whoever runs the step.
func found(level Severity, hint, format string, values ...any) Finding {
	return Finding{Level: level, Message: fmt.Sprintf(format, values...), Hint: hint}
}

// configFile looks at who may read and write the configuration.
func (d *doctor) configFile(context.Context) []Finding {
	info, err := os.Stat(d.Path)
	if err != nil {
		return nil // it has been read a moment ago
	}
	var list []Finding
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		list = append(list, found(Warning, "chmod go-w "+d.Path, "%s can be written by others (mode %04o)", d.Path, mode))
	}
	if why := mount.Stale(d.Path); why != "" {
		list = append(list, found(Warning, mount.StaleHint, "%s: %s", d.Path, why))
	}
	inline := slices.ContainsFunc(d.Config.Cloudflare, func(c config.Credential) bool { return !c.Token.IsZero() })
	if info.Mode().Perm()&0o004 != 0 && inline {
		list = append(list, found(Warning, "use token_file, or chmod o-r "+d.Path, "%s holds a token and can be read by everybody", d.Path))
	}
	return list
}

// environment names variables that mislead people, here and around the running
// instance. They have no effect.
func (d *doctor) environment(context.Context) []Finding {
	var list []Finding
	note := func(whose string, names []string) {
		if len(names) > 0 {
			list = append(list, Finding{"environment", Warning, fmt.Sprintf("%s: %s (without effect on sallyport)", whose, strings.Join(names, " ")), d.MisleadingHint})
		}
	}
	note("set where doctor was started", d.Ignored)
	seen := slices.Clone(d.Ignored)
	looked := make(map[int]bool)
	look := func(whose string, pid int) {
		if looked[pid] {
			return
		}
		looked[pid] = true
		names := slices.DeleteFunc(d.variablesOf(pid), func(name string) bool { return slices.Contains(seen, name) })
		note(fmt.Sprintf("set in %s, %s (pid %d)", whose, commandOf(pid), pid), names)
	}
	look("the parent process", os.Getppid())
	if d.running != nil {
		if content, err := os.ReadFile(procFile(d.running.PID, "environ")); err == nil && len(bytes.Trim(content, "\x00")) > 0 {
			if names := d.misleading(content); len(names) > 0 {
				list = append(list, Finding{"environment", Warning, "the running instance is not sealed: " + strings.Join(names, " ") + " stand in its environment", "mount /proc and allow execve, so that it can start itself again with an empty one"})
			}
		}
		if parent := parentOf(d.running.PID); parent > 0 {
			look("the parent of the running instance", parent)
		}
	}
	if len(list) == 0 {
		list = append(list, Finding{"environment", OK, "no variable that misleads", ""})
	}
	return list
}

func procFile(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }

// variablesOf returns the misleading variables that a process was started with,
// if we may know.
func (d *doctor) variablesOf(pid int) []string {
	content, err := os.ReadFile(procFile(pid, "environ"))
	if err != nil {
		return nil
	}
	return d.misleading(content)
}

// misleading picks names out of the environ file of a process.
func (d *doctor) misleading(environ []byte) []string {
	return d.Misleading(strings.Split(string(environ), "\x00"))
}

func commandOf(pid int) string {
	name, err := os.ReadFile(procFile(pid, "comm"))
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(name))
}

// parentOf returns the parent of a process, 0 if it is not known.
func parentOf(pid int) int {
	content, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(content), ") ") // the name before it may have blanks
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// storageDir looks whether certificates can be kept, and stay.
func (d *doctor) storageDir(context.Context) []Finding {
	dir, err := filepath.Abs(d.Config.Storage)
	if err != nil {
		return []Finding{found(Unknown, "", "storage %s: %v", d.Config.Storage, err)}
	}
	list := d.writable(dir)
	place := nearestExisting(dir)
	if real, err := filepath.EvalSymlinks(place); err == nil {
		place = real
	}
	if what := mount.Ephemeral(place); what != "" {
		list = append(list, found(Warning, "mount a volume at "+dir+", or all certificates are ordered anew at each start, until the CA's rate limit stops it",
			"storage %s lies %s", dir, what))
	}
	return list
}

// writable tries to write where the storage is or will be.
func (d *doctor) writable(dir string) []Finding {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := nearestExisting(dir)
		if err := unix.Access(parent, unix.W_OK|unix.X_OK); err != nil {
			return []Finding{found(Error, "make it and give it to the user that sallyport runs as", "storage %s does not exist and cannot be made in %s: %v", dir, parent, err)}
		}
		return []Finding{found(Note, "", "storage %s does not exist yet; it will be made", dir)}
	case errors.Is(err, fs.ErrPermission):
		return []Finding{found(Error, "run doctor as the user that sallyport runs as; if this is that user, give it the directory", "storage %s may not be entered", dir)}
	case err != nil:
		return []Finding{found(Error, "", "storage %s: %v", dir, err)}
	case !info.IsDir():
		return []Finding{found(Error, "name a directory in `storage`", "storage %s is not a directory", dir)}
	}
	var list []Finding
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		list = append(list, found(Warning, "chmod 700 "+dir, "storage %s can be entered by others (mode %04o)", dir, mode))
	}
	if err := tryWrite(dir); err != nil {
		return append(list, found(Error, writeCure(dir, err), "storage %s cannot be written: %v", dir, err))
	}
	return append(list, found(OK, "", "storage %s can be written", dir))
}

// tryWrite writes what a certificate takes and removes it.
func tryWrite(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, ".new-doctor-*")
	if err != nil {
		return cause(err)
	}
	defer os.Remove(file.Name())
	_, err = file.Write(make([]byte, 16<<10))
	if err == nil {
		err = file.Sync()
	}
	return cause(cmp.Or(err, file.Close()))
}

// cause takes the path off an error that is told with it anyway.
func cause(err error) error {
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		return inner.Err
	}
	return err
}

func writeCure(dir string, err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on the disk"
	case errors.Is(err, syscall.EROFS):
		return "the file system is mounted read-only: mount a volume at " + dir
	}
	return "run doctor as the user that sallyport runs as; if this is that user: chown -R USER " + dir
}

// nearestExisting is a path or the closest directory above it that exists.
func nearestExisting(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || filepath.Dir(path) == path {
			return path
		}
		path = filepath.Dir(path)
	}
}

// ports looks whether the addresses of the configuration are free, or ours.
func (d *doctor) ports(ctx context.Context) []Finding {
	var list []Finding
	for _, address := range d.Config.Listen.HTTP {
		list = append(list, d.port(ctx, "tcp", address))
	}
	for _, address := range d.Config.Listen.HTTPS {
		list = append(list, d.port(ctx, "tcp", address))
		if d.Config.Listen.HTTP3 {
			list = append(list, d.port(ctx, "udp", address))
		}
	}
	if d.running == nil {
		for _, address := range d.Config.Admin.Listen {
			list = append(list, d.port(ctx, "tcp", address))
		}
	}
	return list
}

func (d *doctor) port(ctx context.Context, network, address string) Finding {
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" {
		return found(OK, "", "%s %s: any port", network, address)
	}
	if d.running != nil {
		for _, l := range d.running.Listeners {
			if _, ours, err := net.SplitHostPort(l.Address); err == nil && ours == port {
				return found(OK, "", "%s %s is held by the running instance", network, address)
			}
		}
	}
	config := net.ListenConfig{}
	var closer interface{ Close() error }
	if network == "udp" {
		closer, err = config.ListenPacket(ctx, network, address)
	} else {
		closer, err = config.Listen(ctx, network, address)
	}
	switch {
	case err == nil:
		_ = closer.Close()
		return found(OK, "", "%s %s is free", network, address)
	case errors.Is(err, syscall.EADDRINUSE):
		who := holder(network, port)
		if who == "systemd (pid 1)" {
			return found(OK, "", "%s %s is held by systemd, for a socket unit", network, address)
		}
		return found(Error, "stop what holds it (an nginx that is still there?), or change listen; `ss -lnp 'sport = :"+port+"'` shows who it is; systemd may hold it for sallyport.socket", "%s %s is taken by %s", network, address, who)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return found(Error, "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit; sysctls net.ipv4.ip_unprivileged_port_start: \"0\" in compose", "%s %s may not be taken by this user", network, address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return found(Error, "write an address that the machine has, or only the port", "%s %s: this machine does not have that address", network, address)
	}
	return found(Error, "", "%s %s cannot be taken: %v", network, address, err)
}

// holder names who has a port, as far as this user may know.
func holder(network, port string) string {
	sockets := make(map[string]bool)
	number, _ := strconv.Atoi(port)
	for _, table := range []string{network, network + "6"} {
		content, err := os.ReadFile("/proc/net/" + table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(content)) {
			fields := strings.Fields(line)
			listens := network == "udp" || len(fields) > 3 && fields[3] == "0A"
			if len(fields) > 9 && listens && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", number)) {
				sockets["socket:["+fields[9]+"]"] = true
			}
		}
	}
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && sockets[target] {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			return fmt.Sprintf("%s (pid %d)", commandOf(pid), pid)
		}
	}
	return "another process"
}

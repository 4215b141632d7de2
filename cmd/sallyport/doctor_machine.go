package main

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

	"github.com/sallyport/sallyport/config"
)

// This file looks at the machine: files, storage, ports, variables.

// found makes a finding; the check's name is filled in by whoever runs the step.
func found(level severity, hint, format string, values ...any) finding {
	return finding{Level: level, Message: fmt.Sprintf(format, values...), Hint: hint}
}

// configFile looks at who may read and write the configuration.
func (d *doctor) configFile(context.Context) []finding {
	info, err := os.Stat(d.path)
	if err != nil {
		return nil // it has been read a moment ago
	}
	var list []finding
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		list = append(list, found(levelWarning, "chmod go-w "+d.path, "%s can be written by others (mode %04o)", d.path, mode))
	}
	if why := staleFile(d.path, "/proc/self/mountinfo"); why != "" {
		list = append(list, found(levelWarning, staleHint, "%s: %s", d.path, why))
	}
	inline := slices.ContainsFunc(d.cfg.Cloudflare, func(c config.Credential) bool { return !c.Token.IsZero() })
	if info.Mode().Perm()&0o004 != 0 && inline {
		list = append(list, found(levelWarning, "use token_file, or chmod o-r "+d.path, "%s holds a token and can be read by everybody", d.path))
	}
	return list
}

// environment names variables that mislead people, here and around the running
// instance. They have no effect.
func (d *doctor) environment(context.Context) []finding {
	var list []finding
	note := func(whose string, names []string) {
		if len(names) > 0 {
			list = append(list, finding{"environment", levelWarning, fmt.Sprintf("%s: %s (without effect on sallyport)", whose, strings.Join(names, " ")), ignoredHint})
		}
	}
	note("set where doctor was started", d.sealed.ignored)
	seen := slices.Clone(d.sealed.ignored)
	looked := make(map[int]bool)
	look := func(whose string, pid int) {
		if looked[pid] {
			return
		}
		looked[pid] = true
		names := slices.DeleteFunc(variablesOf(pid), func(name string) bool { return slices.Contains(seen, name) })
		note(fmt.Sprintf("set in %s, %s (pid %d)", whose, commandOf(pid), pid), names)
	}
	look("the parent process", os.Getppid())
	if d.running != nil {
		if content, err := os.ReadFile(procFile(d.running.PID, "environ")); err == nil && len(bytes.Trim(content, "\x00")) > 0 {
			if names := misleading(content); len(names) > 0 {
				list = append(list, finding{"environment", levelWarning, "the running instance is not sealed: " + strings.Join(names, " ") + " stand in its environment", "mount /proc and allow execve, so that it can start itself again with an empty one"})
			}
		}
		if parent := parentOf(d.running.PID); parent > 0 {
			look("the parent of the running instance", parent)
		}
	}
	if len(list) == 0 {
		list = append(list, finding{"environment", levelOK, "no variable that misleads", ""})
	}
	return list
}

func procFile(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }

// variablesOf returns the misleading variables that a process was started with,
// if we may know.
func variablesOf(pid int) []string {
	content, err := os.ReadFile(procFile(pid, "environ"))
	if err != nil {
		return nil
	}
	return misleading(content)
}

// misleading picks names out of the environ file of a process.
func misleading(environ []byte) []string {
	return ignoredNames(strings.Split(string(environ), "\x00"))
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
func (d *doctor) storageDir(context.Context) []finding {
	dir, err := filepath.Abs(d.cfg.Storage)
	if err != nil {
		return []finding{found(levelUnknown, "", "storage %s: %v", d.cfg.Storage, err)}
	}
	list := d.writable(dir)
	place := nearestExisting(dir)
	if real, err := filepath.EvalSymlinks(place); err == nil {
		place = real
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		if what := ephemeral(string(mounts), place); what != "" {
			list = append(list, found(levelWarning, "mount a volume at "+dir+", or all certificates are ordered anew at each start, until the CA's rate limit stops it",
				"storage %s lies %s", dir, what))
		}
	}
	return list
}

// writable tries to write where the storage is or will be.
func (d *doctor) writable(dir string) []finding {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := nearestExisting(dir)
		if err := unix.Access(parent, unix.W_OK|unix.X_OK); err != nil {
			return []finding{found(levelError, "make it and give it to the user that sallyport runs as", "storage %s does not exist and cannot be made in %s: %v", dir, parent, err)}
		}
		return []finding{found(levelNote, "", "storage %s does not exist yet; it will be made", dir)}
	case errors.Is(err, fs.ErrPermission):
		return []finding{found(levelError, "run doctor as the user that sallyport runs as; if this is that user, give it the directory", "storage %s may not be entered", dir)}
	case err != nil:
		return []finding{found(levelError, "", "storage %s: %v", dir, err)}
	case !info.IsDir():
		return []finding{found(levelError, "name a directory in `storage`", "storage %s is not a directory", dir)}
	}
	var list []finding
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		list = append(list, found(levelWarning, "chmod 700 "+dir, "storage %s can be entered by others (mode %04o)", dir, mode))
	}
	if err := tryWrite(dir); err != nil {
		return append(list, found(levelError, writeCure(dir, err), "storage %s cannot be written: %v", dir, err))
	}
	return append(list, found(levelOK, "", "storage %s can be written", dir))
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

// ephemeral says where a path lies if that does not outlive a container or the
// machine, "" if it does; mounts is the text of /proc/self/mountinfo
// (proc_pid_mountinfo(5)).
func ephemeral(mounts, path string) string {
	best, kind := "", ""
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(line, " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(rest) == 0 {
			continue
		}
		point := unescapeMount(fields[4])
		inside := path == point || strings.HasPrefix(path, strings.TrimSuffix(point, "/")+"/")
		if inside && len(point) >= len(best) { // of equal ones the later covers the earlier
			best, kind = point, rest[0]
		}
	}
	switch kind {
	case "overlay", "aufs":
		return "on the container's own layer, which is lost with the container"
	case "tmpfs", "ramfs":
		return "in memory (" + kind + " at " + best + "), which is lost at a restart"
	}
	return ""
}

// ports looks whether the addresses of the configuration are free, or ours.
func (d *doctor) ports(ctx context.Context) []finding {
	var list []finding
	for _, address := range d.cfg.Listen.HTTP {
		list = append(list, d.port(ctx, "tcp", address))
	}
	for _, address := range d.cfg.Listen.HTTPS {
		list = append(list, d.port(ctx, "tcp", address))
		if d.cfg.Listen.HTTP3 {
			list = append(list, d.port(ctx, "udp", address))
		}
	}
	if d.running == nil {
		for _, address := range d.cfg.Admin.Listen {
			list = append(list, d.port(ctx, "tcp", address))
		}
	}
	return list
}

func (d *doctor) port(ctx context.Context, network, address string) finding {
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" {
		return found(levelOK, "", "%s %s: any port", network, address)
	}
	if d.running != nil {
		for _, l := range d.running.Listeners {
			if _, ours, err := net.SplitHostPort(l.Address); err == nil && ours == port {
				return found(levelOK, "", "%s %s is held by the running instance", network, address)
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
		return found(levelOK, "", "%s %s is free", network, address)
	case errors.Is(err, syscall.EADDRINUSE):
		who := holder(network, port)
		if who == "systemd (pid 1)" {
			return found(levelOK, "", "%s %s is held by systemd, for a socket unit", network, address)
		}
		return found(levelError, "stop what holds it (an nginx that is still there?), or change listen; `ss -lnp 'sport = :"+port+"'` shows who it is; systemd may hold it for sallyport.socket", "%s %s is taken by %s", network, address, who)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return found(levelError, "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit; sysctls net.ipv4.ip_unprivileged_port_start: \"0\" in compose", "%s %s may not be taken by this user", network, address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return found(levelError, "write an address that the machine has, or only the port", "%s %s: this machine does not have that address", network, address)
	}
	return found(levelError, "", "%s %s cannot be taken: %v", network, address, err)
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

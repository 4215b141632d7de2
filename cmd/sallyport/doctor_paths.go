package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// This file looks at what the configuration names by path: files with secrets,
// logs, the control socket.

// paths looks at them. What start would refuse is among the configuration's
// problems already.
func (d *doctor) paths(context.Context) []finding {
	list := d.secrets()
	if len(d.cfg.Admin.Listen) > 0 {
		e := edge{config: d.cfg}
		if _, err := e.adminToken(); err != nil {
			list = append(list, found(levelError, "write a token of at least 16 characters into it, readable by sallyport's user; until then nobody gets in", "%v", err))
		}
	}
	outputs := []string{d.cfg.Log.Output}
	if access := d.cfg.Log.Access; access != nil && !access.Off {
		outputs = append(outputs, access.Output)
	}
	for _, output := range outputs {
		if output != "stderr" && output != "stdout" && output != "" {
			list = append(list, inFolder("log "+output, output)...)
		}
	}
	if socket := d.cfg.Admin.Socket; socket != "" && d.cfg.SocketPath() != "" && d.running == nil {
		list = append(list, inFolder("admin.socket "+socket, socket)...)
	}
	return list
}

// inFolder looks whether a file can be made where it is to be.
func inFolder(what, path string) []finding {
	folder := filepath.Dir(path)
	switch err := unix.Access(folder, unix.W_OK|unix.X_OK); {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		return []finding{found(levelError, "mkdir "+folder+", and give it to the user that sallyport runs as", "%s: the folder %s does not exist", what, folder)}
	default:
		return []finding{found(levelError, "give the folder to the user that sallyport runs as, or name another", "%s: the folder %s may not be written: %v", what, folder, err)}
	}
}

// secrets looks whether files with secrets can be read by everybody. Token
// files are refused for that, so they are not among these.
func (d *doctor) secrets() []finding {
	files := []string{d.cfg.Admin.TokenFile}
	if eab := d.cfg.ACME.EAB; eab != nil {
		files = append(files, eab.MACKeyFile)
	}
	for _, u := range d.cfg.Upstreams {
		if u.TLS != nil {
			files = append(files, u.TLS.Key)
		}
	}
	for i := range d.cfg.Sites {
		for _, place := range d.cfg.Sites[i].Places() {
			if auth := place.BasicAuth; auth != nil {
				files = append(files, auth.UsersFile)
			}
		}
	}
	slices.Sort(files)
	var list []finding
	for _, file := range slices.Compact(files) {
		if info, err := os.Stat(file); file != "" && err == nil && info.Mode().Perm()&0o004 != 0 {
			list = append(list, found(levelWarning, "chmod o-r "+file, "%s holds secrets and can be read by everybody (mode %04o)", file, info.Mode().Perm()))
		}
	}
	return list
}

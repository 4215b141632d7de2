package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/proxy/admin"
)

// This file looks at what the configuration names by path: files with secrets,
// logs, the control socket.

// paths looks at them. What start would refuse is among the configuration's
// problems already.
func (d *doctor) paths(context.Context) []Finding {
	list := d.secrets()
	if len(d.Config.Admin.Listen) > 0 {
		if _, err := admin.ReadToken(d.Config.Admin.TokenFile); err != nil {
			list = append(list, found(Error, "write a token of at least 16 characters into it, readable by sallyport's user; until then nobody gets in", "%v", err))
		}
	}
	outputs := []string{d.Config.Log.Output}
	if access := d.Config.Log.Access; access != nil && !access.Off {
		outputs = append(outputs, access.Output)
	}
	for _, output := range outputs {
		if output != "stderr" && output != "stdout" && output != "" {
			list = append(list, inFolder("log "+output, output)...)
		}
	}
	if socket := d.Config.Admin.Socket; socket != "" && d.Config.SocketPath() != "" && d.running == nil {
		list = append(list, inFolder("admin.socket "+socket, socket)...)
	}
	return list
}

// inFolder looks whether a file can be made where it is to be.
func inFolder(what, path string) []Finding {
	folder := filepath.Dir(path)
	switch err := unix.Access(folder, unix.W_OK|unix.X_OK); {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		return []Finding{found(Error, "mkdir "+folder+", and give it to the user that sallyport runs as", "%s: the folder %s does not exist", what, folder)}
	default:
		return []Finding{found(Error, "give the folder to the user that sallyport runs as, or name another", "%s: the folder %s may not be written: %v", what, folder, err)}
	}
}

// secrets looks whether files with secrets can be read by everybody. Token
// files are refused for that, so they are not among these.
func (d *doctor) secrets() []Finding {
	files := []string{d.Config.Admin.TokenFile}
	if eab := d.Config.ACME.EAB; eab != nil {
		files = append(files, eab.MACKeyFile)
	}
	for _, u := range d.Config.Upstreams {
		if u.TLS != nil {
			files = append(files, u.TLS.Key)
		}
	}
	for i := range d.Config.Sites {
		for _, place := range d.Config.Sites[i].Places() {
			if auth := place.BasicAuth; auth != nil {
				files = append(files, auth.UsersFile)
			}
		}
	}
	slices.Sort(files)
	var list []Finding
	for _, file := range slices.Compact(files) {
		if info, err := os.Stat(file); file != "" && err == nil && info.Mode().Perm()&0o004 != 0 {
			list = append(list, found(Warning, "chmod o-r "+file, "%s holds secrets and can be read by everybody (mode %04o)", file, info.Mode().Perm()))
		}
	}
	return list
}

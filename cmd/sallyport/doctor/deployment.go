package doctor

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// This file looks at the systemd unit and the compose file that doctor is shown.

// mostFile bounds what is read of them.
const mostFile = 1 << 20

func readSome(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, mostFile))
}

// unitFile looks at the systemd unit (systemd.exec(5)).
func (d *doctor) unitFile(context.Context) []Finding {
	if d.Unit == "" {
		return nil
	}
	content, err := readSome(d.Unit)
	if err != nil {
		return []Finding{found(Error, "", "%v", err)}
	}
	u := parseUnit(string(content))
	var list []Finding
	var names []string
	for _, line := range u["Environment"] {
		for word := range strings.FieldsSeq(line) {
			names = append(names, strings.Trim(word, `"'`))
		}
	}
	names = append(names, strings.Fields(strings.Join(u["PassEnvironment"], " "))...)
	if misled := d.Misleading(names); len(misled) > 0 {
		list = append(list, found(Warning, d.MisleadingHint, "%s sets %s (without effect on sallyport)", d.Unit, strings.Join(misled, " ")))
	}
	for _, file := range u["EnvironmentFile"] {
		list = append(list, d.variablesFile(d.Unit, strings.TrimPrefix(file, "-"))...)
	}
	command := strings.Join(u["ExecStart"], " ")
	for i, credential := range d.Config.Cloudflare {
		if credential.Credential == "" {
			continue
		}
		if !strings.Contains(command, "--credentials-dir") {
			list = append(list, found(Error, "ExecStart=… run --credentials-dir=%d", "%s does not say --credentials-dir, which `credential: %s` needs", d.Unit, credential.Credential))
		}
		loaded := slices.ContainsFunc(slices.Concat(u["LoadCredential"], u["LoadCredentialEncrypted"], u["SetCredentialEncrypted"]), func(line string) bool {
			name, _, _ := strings.Cut(line, ":")
			return name == credential.Credential
		})
		if !loaded {
			list = append(list, found(Error, "LoadCredential="+credential.Credential+":/path/to/token", "%s loads no credential %s, which cloudflare[%d] names", d.Unit, credential.Credential, i))
		}
	}
	if stop, ok := unitTime(last(u["TimeoutStopSec"])); ok && stop > 0 && stop <= d.Config.Limits.ShutdownTimeout {
		list = append(list, found(Warning, fmt.Sprintf("TimeoutStopSec=%d or more", int((d.Config.Limits.ShutdownTimeout+10*time.Second).Seconds())), "%s stops after %v, before limits.shutdown_timeout (%v): requests under way are cut", d.Unit, stop, d.Config.Limits.ShutdownTimeout))
	}
	unprivileged := last(u["DynamicUser"]) == "yes" || last(u["DynamicUser"]) == "true" || last(u["User"]) != "" && last(u["User"]) != "root"
	if unprivileged && len(u["Sockets"]) == 0 && !strings.Contains(strings.Join(u["AmbientCapabilities"], " "), "CAP_NET_BIND_SERVICE") {
		list = append(list, found(Warning, "AmbientCapabilities=CAP_NET_BIND_SERVICE", "%s runs as a user that may not take ports below 1024", d.Unit))
	}
	if len(list) == 0 {
		list = append(list, found(OK, "", "nothing against %s", d.Unit))
	}
	return list
}

// variablesFile looks at a file of NAME=VALUE lines.
func (d *doctor) variablesFile(by, name string) []Finding {
	content, err := readSome(name)
	if err != nil {
		return []Finding{found(Unknown, "", "%s names %s, which cannot be read: %v", by, name, cause(err))}
	}
	if misled := d.Misleading(strings.Split(string(content), "\n")); len(misled) > 0 {
		return []Finding{found(Warning, d.MisleadingHint, "%s sets %s by %s (without effect on sallyport)", by, strings.Join(misled, " "), name)}
	}
	return nil
}

// parseUnit returns the values of each key, of all sections.
func parseUnit(text string) map[string][]string {
	unit := make(map[string][]string)
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if value == "" {
			delete(unit, key) // an empty one takes back those before
			continue
		}
		unit[key] = append(unit[key], value)
	}
	return unit
}

func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// unitTime reads a time of systemd: a number is seconds.
func unitTime(text string) (time.Duration, bool) {
	if seconds, err := time.ParseDuration(text + "s"); err == nil {
		return seconds, true
	}
	d, err := time.ParseDuration(strings.NewReplacer("min", "m", " ", "").Replace(text))
	return d, err == nil
}

// composeService is what matters of a service of a compose file.
type composeService struct {
	Image       string `yaml:"image"`
	Command     any    `yaml:"command"`
	Environment any    `yaml:"environment"`
	EnvFile     any    `yaml:"env_file"`
	Volumes     []any  `yaml:"volumes"`
	Tmpfs       any    `yaml:"tmpfs"`
	Ports       []any  `yaml:"ports"`
	NetworkMode string `yaml:"network_mode"`
	StopGrace   string `yaml:"stop_grace_period"`
	Secrets     []any  `yaml:"secrets"`
}

// composeFile looks at the services of a compose file that run sallyport.
func (d *doctor) composeFile(context.Context) []Finding {
	if d.Compose == "" {
		return nil
	}
	content, err := readSome(d.Compose)
	if err != nil {
		return []Finding{found(Error, "", "%v", err)}
	}
	var file struct {
		Services map[string]composeService `yaml:"services"`
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		return []Finding{found(Error, "docker compose config says where", "%s cannot be read as a compose file", d.Compose)}
	}
	var list []Finding
	n := 0
	for _, name := range slices.Sorted(maps.Keys(file.Services)) {
		service := file.Services[name]
		if len(file.Services) > 1 && !strings.Contains(name+" "+service.Image, "sallyport") {
			continue
		}
		n++
		list = append(list, d.service(name, &service)...)
	}
	switch {
	case n == 0:
		list = append(list, found(Unknown, "", "%s has no service whose name or image is sallyport's", d.Compose))
	case len(list) == 0:
		list = append(list, found(OK, "", "nothing against %s", d.Compose))
	}
	return list
}

// service looks at one.
func (d *doctor) service(name string, s *composeService) []Finding {
	var list []Finding
	if misled := d.Misleading(texts(s.Environment)); len(misled) > 0 {
		list = append(list, found(Warning, d.MisleadingHint, "service %s sets %s (without effect on sallyport)", name, strings.Join(misled, " ")))
	}
	for _, file := range texts(s.EnvFile) {
		list = append(list, d.variablesFile("service "+name, filepath.Join(filepath.Dir(d.Compose), file))...)
	}
	storage := path.Clean(d.Config.Storage)
	kept := false
	for _, volume := range s.Volumes {
		source, target := mountOf(volume)
		if target == storage || strings.HasPrefix(storage, strings.TrimSuffix(target, "/")+"/") {
			kept = true
		}
		if ext := path.Ext(target); source != "" && (ext == ".yaml" || ext == ".yml") {
			list = append(list, found(Warning, "mount its directory: "+path.Dir(source)+":"+path.Dir(target)+":ro",
				"service %s mounts the file %s alone: after an editor has saved it, the container still sees the old one", name, target))
		}
	}
	if path.IsAbs(storage) && !kept {
		list = append(list, found(Error, "volumes: [state:"+storage+"]", "service %s mounts no volume at %s (storage): certificates are lost with the container", name, storage))
	}
	list = append(list, d.published(name, s)...)
	for i, credential := range d.Config.Cloudflare {
		secret, ok := strings.CutPrefix(credential.TokenFile, "/run/secrets/")
		if ok && !slices.ContainsFunc(s.Secrets, func(one any) bool { return secretName(one) == secret }) {
			list = append(list, found(Error, "secrets: ["+secret+"]", "service %s has no secret %s, which cloudflare[%d].token_file names", name, secret, i))
		}
	}
	if s.StopGrace == "" {
		s.StopGrace = "10s" // compose's own
	}
	if grace, err := time.ParseDuration(s.StopGrace); err == nil && grace <= d.Config.Limits.ShutdownTimeout {
		list = append(list, found(Warning, fmt.Sprintf("stop_grace_period: %v", d.Config.Limits.ShutdownTimeout+10*time.Second), "service %s is killed %v after it is told to stop, before limits.shutdown_timeout (%v): requests under way are cut", name, grace, d.Config.Limits.ShutdownTimeout))
	}
	return list
}

// published looks whether the ports that are listened on are led into the
// container.
func (d *doctor) published(name string, s *composeService) []Finding {
	if s.NetworkMode == "host" {
		return nil
	}
	var inside []string // "443", "443/udp"
	for _, port := range s.Ports {
		inside = append(inside, portInside(port))
	}
	missing := func(address, suffix string) []Finding {
		i := strings.LastIndexByte(address, ':')
		port := address[i+1:] + suffix
		if slices.Contains(inside, port) {
			return nil
		}
		return []Finding{found(Warning, fmt.Sprintf("ports: [%q]", address[i+1:]+":"+port), "service %s publishes no port for %s, where sallyport listens", name, port)}
	}
	var list []Finding
	for _, address := range d.Config.Listen.HTTP {
		list = append(list, missing(address, "")...)
	}
	for _, address := range d.Config.Listen.HTTPS {
		list = append(list, missing(address, "")...)
		if d.Config.Listen.HTTP3 {
			list = append(list, missing(address, "/udp")...)
		}
	}
	return list
}

// texts returns what compose lets one write as a text, a list or a mapping, as
// a list; of a mapping the keys.
func texts(value any) []string {
	var list []string
	switch value := value.(type) {
	case string:
		list = append(list, value)
	case []any:
		for _, one := range value {
			if file, ok := one.(map[string]any); ok {
				one = file["path"]
			}
			list = append(list, fmt.Sprint(one))
		}
	case map[string]any:
		for key := range value {
			list = append(list, key)
		}
	}
	return list
}

// mountOf returns where a volume comes from, if that is a file or folder of the
// host, and where it goes.
func mountOf(volume any) (source, target string) {
	switch volume := volume.(type) {
	case string:
		parts := strings.Split(volume, ":")
		if len(parts) == 1 {
			return "", path.Clean(parts[0])
		}
		return parts[0], path.Clean(parts[1])
	case map[string]any:
		source, _ = volume["source"].(string)
		target, _ = volume["target"].(string)
		return source, path.Clean(target)
	}
	return "", ""
}

func secretName(secret any) string {
	if long, ok := secret.(map[string]any); ok {
		if target, ok := long["target"].(string); ok {
			return path.Base(target)
		}
		return fmt.Sprint(long["source"])
	}
	return fmt.Sprint(secret)
}

// portInside returns the port in the container, with /udp for UDP.
func portInside(port any) string {
	if long, ok := port.(map[string]any); ok {
		text := fmt.Sprint(long["target"])
		if long["protocol"] == "udp" {
			text += "/udp"
		}
		return text
	}
	text := strings.TrimSuffix(fmt.Sprint(port), "/tcp")
	return text[strings.LastIndexByte(text, ':')+1:]
}

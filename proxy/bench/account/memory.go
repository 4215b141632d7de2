package account

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is what a process tree holds, in bytes.
type Memory struct {
	// PSS is the proportional set size: pages shared by several processes
	// count a part in each, so that the sum over workers is true. 0 where the
	// kernel does not say.
	PSS int64

	// PeakRSS is the sum of the largest resident set each process ever had.
	// It counts what workers share once for each.
	PeakRSS int64
}

// Memory returns the memory of a process and all its descendants. It fails when
// the process has ended.
func (p Proc) Memory(pid int) (Memory, error) {
	tree, err := p.tree(pid)
	if err != nil {
		return Memory{}, err
	}
	var sum Memory
	for _, one := range tree {
		number := strconv.Itoa(one.pid)
		if status, err := os.ReadFile(p.path(number, "status")); err == nil {
			sum.PeakRSS += kilobytes(string(status), "VmHWM:")
		}
		if rollup, err := os.ReadFile(p.path(number, "smaps_rollup")); err == nil {
			sum.PSS += kilobytes(string(rollup), "Pss:")
		}
	}
	return sum, nil
}

// kilobytes returns the bytes of a line such as "VmHWM:    1234 kB", or 0 if
// there is none.
func kilobytes(text, name string) int64 {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name); ok {
			number, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				return 0
			}
			return number << 10
		}
	}
	return 0
}

// Machine says what a result was measured on.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Memory int64  `json:"memory_bytes"`
}

// Machine describes this machine; cores is how many this process may use.
func (p Proc) Machine(cores int) Machine {
	m := Machine{Cores: cores}
	if content, err := os.ReadFile(p.path("cpuinfo")); err == nil {
		m.CPU = cpuModel(string(content))
	}
	if content, err := os.ReadFile(p.path("sys", "kernel", "osrelease")); err == nil {
		m.Kernel = "Linux " + strings.TrimSpace(string(content))
	}
	if content, err := os.ReadFile(p.path("meminfo")); err == nil {
		m.Memory = kilobytes(string(content), "MemTotal:")
	}
	return m
}

// cpuModel returns the name of the first processor in /proc/cpuinfo, with its
// family and model, since virtual machines often shorten the name.
func cpuModel(text string) string {
	values := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			break // the next processor
		}
		values[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	if values["model name"] == "" {
		return ""
	}
	return fmt.Sprintf("%s (family %s, model %s)", values["model name"], values["cpu family"], values["model"])
}

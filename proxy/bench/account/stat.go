package account

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc: USER_HZ is 100 on every Linux
// architecture that Go knows, whatever the kernel's own HZ.
const tick = 10 * time.Millisecond

// Proc is a proc file system. The zero value is the one at /proc.
type Proc struct {
	Root string
}

func (p Proc) path(elements ...string) string {
	root := p.Root
	if root == "" {
		root = "/proc"
	}
	return filepath.Join(append([]string{root}, elements...)...)
}

// process is what one line of /proc/PID/stat says.
type process struct {
	pid, parent int
	cpu         time.Duration // user and system, and that of children already waited for
}

// parseStat reads a line of /proc/PID/stat (proc(5)). The name in parentheses
// may itself hold blanks and parentheses, so fields are counted from the last one.
func parseStat(line string) (process, error) {
	pid, rest, ok := strings.Cut(line, " ")
	end := strings.LastIndexByte(rest, ')')
	if !ok || end < 0 {
		return process{}, fmt.Errorf("not a line of /proc/PID/stat: %q", line)
	}
	fields := strings.Fields(rest[end+1:]) // from field 3, state
	const parent, utime, cstime = 4 - 3, 14 - 3, 17 - 3
	if len(fields) <= cstime {
		return process{}, fmt.Errorf("/proc/%s/stat has %d fields", pid, len(fields)+2)
	}
	var result process
	var err error
	if result.pid, err = strconv.Atoi(pid); err != nil {
		return process{}, err
	}
	if result.parent, err = strconv.Atoi(fields[parent]); err != nil {
		return process{}, err
	}
	for _, field := range fields[utime : cstime+1] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return process{}, err
		}
		result.cpu += time.Duration(ticks) * tick
	}
	return result, nil
}

// tree returns a process and all below it.
func (p Proc) tree(root int) ([]process, error) {
	entries, err := os.ReadDir(p.path())
	if err != nil {
		return nil, fmt.Errorf("processor time is read from /proc, which only Linux has: %w", err)
	}
	children := make(map[int][]process)
	var found []process
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		line, err := os.ReadFile(p.path(entry.Name(), "stat"))
		if err != nil {
			continue // it has just ended
		}
		one, err := parseStat(string(line))
		if err != nil {
			return nil, err
		}
		if one.pid == root {
			found = append(found, one)
		}
		children[one.parent] = append(children[one.parent], one)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("process %d has ended", root)
	}
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	return found, nil
}

// CPU returns the processor time, user and system, that a process and all its
// descendants have used since they started, in steps of 10 ms. Descendants that
// have ended count once they have been waited for. It fails when the process
// has ended.
func (p Proc) CPU(pid int) (time.Duration, error) {
	tree, err := p.tree(pid)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, one := range tree {
		sum += one.cpu
	}
	return sum, nil
}

// Busy returns the processor time that the whole machine has used since it
// booted, time stolen by its hypervisor included.
func (p Proc) Busy() (time.Duration, error) {
	content, err := os.ReadFile(p.path("stat"))
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var sum time.Duration
	for i, field := range fields[1:9] { // user nice system idle iowait irq softirq steal
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		if i != 3 && i != 4 {
			sum += time.Duration(ticks) * tick
		}
	}
	return sum, nil
}

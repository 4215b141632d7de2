package account

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// statLine makes a line of /proc/PID/stat with these times in ticks.
func statLine(pid, name, parent, utime, stime, cutime, cstime string) string {
	return strings.Join([]string{pid, "(" + name + ")", "S", parent, "1 1 0 -1 4194560 100 0 0 0", utime, stime, cutime, cstime, "20 0 1 0 12 1000 10"}, " ")
}

func TestParseStat(t *testing.T) {
	for _, test := range []struct {
		name, line string
		want       process
		fails      bool
	}{
		{"plain", statLine("7", "nginx", "1", "10", "5", "2", "1"), process{7, 1, 180 * time.Millisecond}, false},
		{"a name with blanks and parentheses", statLine("7", "a) S 9 (b", "1", "1", "0", "0", "0"), process{7, 1, 10 * time.Millisecond}, false},
		{"empty", "", process{}, true},
		{"cut short", "7 (nginx) S 1 1", process{}, true},
		{"not a number", statLine("7", "nginx", "1", "x", "0", "0", "0"), process{}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseStat(test.line)
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func write(t *testing.T, root, name, content string) {
	t.Helper()
	file := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTreeCountsWorkersAndTheirChildrenAndNobodyElse(t *testing.T) {
	root := t.TempDir()
	p := Proc{Root: root}
	write(t, root, "10/stat", statLine("10", "master", "1", "1", "1", "0", "0"))
	write(t, root, "11/stat", statLine("11", "worker", "10", "10", "0", "0", "0"))
	write(t, root, "12/stat", statLine("12", "helper", "11", "100", "0", "0", "0"))
	write(t, root, "13/stat", statLine("13", "other", "1", "1000", "0", "0", "0"))
	for pid, rss := range map[string]string{"10": "100", "11": "200", "12": "400", "13": "800"} {
		write(t, root, pid+"/status", "Name:\tx\nVmHWM:\t    "+rss+" kB\nVmRSS:\t 1 kB\n")
		write(t, root, pid+"/smaps_rollup", "00400000-7fff ---p 00000000 00:00 0 [rollup]\nRss: 9 kB\nPss:   "+rss+" kB\nPss_Dirty: 5 kB\n")
	}
	cpu, err := p.CPU(10)
	if err != nil || cpu != 1120*time.Millisecond {
		t.Errorf("CPU: %v, %v", cpu, err)
	}
	memory, err := p.Memory(10)
	if want := (Memory{PSS: 700 << 10, PeakRSS: 700 << 10}); err != nil || memory != want {
		t.Errorf("Memory: %+v, %v", memory, err)
	}
	if _, err := p.CPU(99); err == nil {
		t.Error("a process that has ended has no processor time")
	}
}

func TestBusyLeavesIdleOut(t *testing.T) {
	root := t.TempDir()
	write(t, root, "stat", "cpu  1 2 4 1000 1000 8 16 32 64 128\ncpu0 1 2 3\n")
	if busy, err := (Proc{Root: root}).Busy(); err != nil || busy != 630*time.Millisecond {
		t.Errorf("got %v, %v", busy, err)
	}
}

func TestMachine(t *testing.T) {
	root := t.TempDir()
	write(t, root, "cpuinfo", "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: other\n")
	write(t, root, "sys/kernel/osrelease", "6.1.0\n")
	write(t, root, "meminfo", "MemTotal:       1024 kB\n")
	want := Machine{CPU: "AMD EPYC (family 25, model 17)", Cores: 2, Kernel: "Linux 6.1.0", Memory: 1 << 20}
	if got := (Proc{Root: root}).Machine(2); got != want {
		t.Errorf("got %+v", got)
	}
}

func TestThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has /proc")
	}
	if memory, err := (Proc{}).Memory(os.Getpid()); err != nil || memory.PeakRSS < 1<<20 {
		t.Errorf("%+v, %v", memory, err)
	}
}

package main

import (
	"testing"
	"testing/fstest"
)

func TestAvailableMemoryIsTheTightestLimitOrTheMachine(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	const machine = "MemTotal:       24659144 kB\nMemFree:  1 kB\n"
	for _, test := range []struct {
		name  string
		files fstest.MapFS
		bytes int64
		from  string
	}{
		{"nothing to read", fstest.MapFS{}, 0, "machine"},
		{"no control group", fstest.MapFS{"proc/meminfo": file(machine)}, 24659144 << 10, "machine"},
		{"a container, which sees its group as the root", fstest.MapFS{
			"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("536870912\n"),
		}, 512 << 20, "control group"},
		{"a unit, whose slice is tighter", fstest.MapFS{
			"proc/meminfo":     file(machine),
			"proc/self/cgroup": file("0::/system.slice/sallyport.service\n"),
			"sys/fs/cgroup/system.slice/sallyport.service/memory.max": file("max\n"),
			"sys/fs/cgroup/system.slice/memory.max":                   file("1073741824\n"),
		}, 1 << 30, "control group"},
		{"no limit", fstest.MapFS{
			"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/a\n"), "sys/fs/cgroup/a/memory.max": file("max\n"),
		}, 24659144 << 10, "machine"},
		{"version 1", fstest.MapFS{
			"proc/meminfo": file(machine), "proc/self/cgroup": file("3:memory:/a\n1:cpu:/a\n"),
		}, 24659144 << 10, "machine"},
		{"nonsense", fstest.MapFS{
			"proc/meminfo": file("MemTotal: lots kB\n"), "proc/self/cgroup": file("0::/../../etc\n\n0::\n"), "sys/fs/cgroup/memory.max": file("-1\n"),
		}, 0, "machine"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bytes, from := availableMemory(test.files)
			if bytes != test.bytes || from != test.from {
				t.Errorf("got %d from %s, want %d from %s", bytes, from, test.bytes, test.from)
			}
		})
	}
}

func TestTheProgramsFileCountsAgainstTheLimit(t *testing.T) {
	status := fstest.MapFS{"proc/self/status": &fstest.MapFile{Data: []byte("VmRSS:\t  40000 kB\nRssFile:\t   16384 kB\n")}}
	if got := fileMemory(status); got != 16<<20 {
		t.Errorf("files take %d", got)
	}
	if got := fileMemory(fstest.MapFS{}); got != 0 {
		t.Errorf("where nothing can be read: %d", got)
	}
	if got, want := runtimeShare(256<<20, 16<<20), int64(232<<20); got != want {
		t.Errorf("of 256 MiB the runtime gets %d, want %d", got, want)
	}
	if got, want := runtimeShare(16<<20, 16<<20), int64(8<<20); got != want {
		t.Errorf("of 16 MiB the runtime gets %d, want %d", got, want)
	}
}

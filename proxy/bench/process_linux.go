package main

import (
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// startBound starts cmd in a process group of its own, so that Ctrl-C reaches
// the bench alone, which then stops things in order; and, where the machine has
// more processors than workers, on as many processors as workers, which is what
// a sealed sallyport goes by. It is told to end should this process die, and a
// master that is told so takes its workers along.
func startBound(cmd *exec.Cmd, workers int) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	runtime.LockOSThread() // a child inherits the thread's processors
	defer runtime.UnlockOSThread()
	var all, some unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	if workers <= 0 || all.Count() <= workers {
		return cmd.Start()
	}
	for cpu := 0; some.Count() < workers; cpu++ {
		if all.IsSet(cpu) {
			some.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &some); err != nil {
		return err
	}
	defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	return cmd.Start()
}

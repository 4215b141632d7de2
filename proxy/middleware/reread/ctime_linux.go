package reread

import "syscall"

// changeTime is when a file's content, mode or owner changed last.
func changeTime(info *syscall.Stat_t) syscall.Timespec { return info.Ctim }

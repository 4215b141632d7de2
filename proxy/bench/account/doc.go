// Package account reads what the operating system has written down about
// processes: processor time and memory of a whole process tree, and what the
// machine is. It is for proxy/bench alone, imports no room, starts nothing and
// keeps nothing open. Only Linux keeps these books in files.
//
//	proc := account.Proc{}
//	before, err := proc.CPU(pid) // pid, its children, and theirs
//	// ... load ...
//	after, err := proc.CPU(pid)
//	perRequest := (after - before) / time.Duration(requests)
package account

//go:build !unix

package h1

// askAt is never called here: no connection is direct.
func (c *conn) askAt(uintptr) bool { return true }

func wouldBlock(error) bool { return false }

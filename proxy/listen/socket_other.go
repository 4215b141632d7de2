//go:build !linux

package listen

import (
	"errors"
	"net"
)

func unsent(net.Conn) int { return 0 }

func acknowledged(net.Conn) uint64 { return 0 }

func openFiles() int { return 0 }

func setShared(int, bool) error { return errors.ErrUnsupported }

//go:build !linux

package relay

import (
	"errors"
	"os"
)

// Pair is not available on this system, and neither is an upgrade.
func Pair() (near, far *os.File, err error) { return nil, nil, errors.ErrUnsupported }

func post(*os.File, []byte) error { return errors.ErrUnsupported }

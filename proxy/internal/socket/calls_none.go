//go:build !unix

package socket

import "errors"

// Receive and Send are never called here: no connection is [Direct].
func Receive(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
func Send(uintptr, []byte) (int, error)    { return 0, errors.ErrUnsupported }

package tlsmemory

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// Release drops the read buffers of a connection whose handshake is done, as far
// as nothing is in them; reading makes new ones. Only the goroutine that reads
// may call it, and not while it reads. It reports whether the buffers were found
// and empty.
func Release(c *tls.Conn) bool {
	raw, hand, input := field[bytes.Buffer](c, "rawInput"), field[bytes.Buffer](c, "hand"), field[bytes.Reader](c, "input")
	if raw == nil || hand == nil || input == nil || raw.Len()+hand.Len()+input.Len() > 0 {
		return false
	}
	*raw, *hand = bytes.Buffer{}, bytes.Buffer{}
	input.Reset(nil) // what was read last is part of raw
	return true
}

// field returns a field of a connection, nil if there is none of that name and
// type.
func field[T any](c *tls.Conn, name string) *T {
	f := reflect.ValueOf(c).Elem().FieldByName(name)
	if !f.IsValid() || f.Type() != reflect.TypeFor[T]() {
		return nil
	}
	return (*T)(unsafe.Pointer(f.UnsafeAddr()))
}

// Package reread keeps what was parsed from a file, and reads the file again
// when it has changed: users, keys and certificate authorities take effect
// without a reload. A file that has become bad, or is gone, leaves what was
// read before in force, and is complained of once.
//
// Nothing runs in the background: whoever uses the content looks at the file,
// at most once a second.
//
// It is a leaf: it imports nothing of the house.
//
//	users, err := reread.Open(path, parseUsers, func(err error) { logger.Error(…) })
//	…
//	if users.Get().has(name) { … }
package reread

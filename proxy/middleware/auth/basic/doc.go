// Package basic asks clients for a name and a password (RFC 7617) and knows
// them by hashes, as `htpasswd -B` makes them.
//
// Hashes are bcrypt and nothing else. MD5 ($apr1$), SHA-1 ({SHA}), crypt and
// plain text can be guessed at billions a second and are refused, with the
// command that makes a better one. So are SHA-256/512 crypt ($5$, $6$): no
// library in good keeping has them in Go, and they are cheap for a graphics
// card, so hashing the passwords anew is better than carrying code for them.
//
// bcrypt is slow on purpose, so the outcome is remembered, under a keyed hash of
// name and password with a key that nobody knows; only so many are computed
// at a time, and a flood of guesses gets 503 rather than the processors.
// An unknown name costs as much time as a wrong password.
//
// It is a leaf: it imports exchange and reread of the house. An [Auth] has no
// goroutine and nothing to close; it lives across reloads as long as its
// [Options] stay the same.
//
//	auth, err := basic.New(basic.Options{Realm: "Admin", UsersFile: "/run/secrets/htpasswd"}, logger)
//	handler = auth.Wrap(handler)
package basic

package basic

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// maxCost bounds what one login may cost: 2^14 rounds are about a second.
const maxCost = 14

// mostUsers bounds a file.
const mostUsers = 100_000

// users are the hashes by name.
type users struct {
	hashes map[string][]byte
	decoy  []byte // what an unknown name is checked against: as costly as the others
}

// HashError says which entry is not accepted and why. The hash itself is in
// neither text.
type HashError struct {
	Line   int // from 1; 0 for users that are not in a file
	User   string
	Reason string
	Cure   string
}

// Error names the entry and the reason.
func (e *HashError) Error() string {
	where := fmt.Sprintf("user %q", e.User)
	if e.User == "" {
		where = "entry"
	}
	if e.Line > 0 {
		where = fmt.Sprintf("line %d: %s", e.Line, where)
	}
	return where + " " + e.Reason
}

// Hint says how to make it right.
func (e *HashError) Hint() string { return e.Cure }

// parseUsers reads htpasswd lines: name:hash; blank lines and those that begin
// with # are skipped. A file without a single user is an error: it is what a
// file looks like while it is being written.
func parseUsers(text []byte) (users, error) {
	u := users{hashes: make(map[string][]byte)}
	cost, number := 0, 0
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		number++
		line = bytes.TrimRight(line, "\r\n")
		if trimmed := bytes.TrimSpace(line); len(trimmed) == 0 || trimmed[0] == '#' {
			continue
		}
		name, hash, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return users{}, &HashError{Line: number, Reason: "has no colon", Cure: "each line is NAME:HASH; make one with: htpasswd -nB NAME"}
		}
		hash, _, _ = bytes.Cut(hash, []byte(":")) // some tools add comment fields
		c, err := check(string(name), string(hash))
		if err != nil {
			err.Line = number
			return users{}, err
		}
		if _, twice := u.hashes[string(name)]; twice {
			return users{}, &HashError{Line: number, User: string(name), Reason: "is there twice", Cure: "keep one of the lines"}
		}
		if len(u.hashes) == mostUsers {
			return users{}, fmt.Errorf("more than %d users", mostUsers)
		}
		cost = max(cost, c)
		u.hashes[string(name)] = bytes.Clone(hash)
	}
	if len(u.hashes) == 0 {
		return users{}, errors.New("there is no user in it")
	}
	u.decoy = decoy(cost)
	return u, nil
}

// Check reports what is wrong with one user's hash, or nil. The error is a
// *[HashError].
func Check(name, hash string) error {
	if _, err := check(name, hash); err != nil {
		return err
	}
	return nil
}

func check(name, hash string) (cost int, _ *HashError) {
	if name == "" || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f || c == ':' }) {
		return 0, &HashError{Reason: "has a name that no client can send", Cure: "a name is not empty and has neither a colon nor control characters"}
	}
	if reason := weakness(hash); reason != "" {
		return 0, &HashError{User: name, Reason: reason, Cure: "make a bcrypt hash with: htpasswd -nB -C 12 " + name}
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil || len(hash) != 60 {
		return 0, &HashError{User: name, Reason: "has a bcrypt hash that is not whole", Cure: "it has 60 characters; make one with: htpasswd -nB -C 12 " + name}
	}
	if cost > maxCost {
		return 0, &HashError{User: name, Reason: fmt.Sprintf("has a bcrypt hash of cost %d, which takes seconds", cost), Cure: fmt.Sprintf("use a cost of 10 to %d", maxCost)}
	}
	return cost, nil
}

// weakness says what a hash is, if it is not bcrypt.
func weakness(hash string) string {
	switch {
	case strings.HasPrefix(hash, "$2a$"), strings.HasPrefix(hash, "$2b$"), strings.HasPrefix(hash, "$2y$"):
		return ""
	case strings.HasPrefix(hash, "$apr1$"), strings.HasPrefix(hash, "$1$"):
		return "has an MD5 hash, which is guessed in no time"
	case strings.HasPrefix(hash, "{SHA}"), strings.HasPrefix(hash, "{SSHA}"):
		return "has a SHA-1 hash, which is guessed in no time"
	case strings.HasPrefix(hash, "$5$"), strings.HasPrefix(hash, "$6$"):
		return "has a SHA-crypt hash, which is not supported"
	case strings.HasPrefix(hash, "$argon2"), strings.HasPrefix(hash, "$y$"), strings.HasPrefix(hash, "$7$"):
		return "has a hash of a kind that is not supported"
	case hash == "":
		return "has no hash"
	}
	return "has a plain password or a hash that is not bcrypt"
}

// decoy makes a hash of some cost that no password is known for: a valid salt
// and digest of zeros. Computing a real one would take the time of a login.
func decoy(cost int) []byte {
	return fmt.Appendf(nil, "$2a$%02d$%s", cost, strings.Repeat(".", 53))
}

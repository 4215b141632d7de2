package cloudflare

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config/secret"
)

// Source is where a credential's token comes from.
type Source interface {
	// Read returns the token as it is now. Its errors are *TokenError.
	Read() (secret.Text, error)

	// String names the source for people: "token_file /run/secrets/cf" or
	// "inline token". It never shows the token.
	String() string
}

// File is a token in a file, which ParseToken must understand. Each Read opens
// the file anew and follows symbolic links, so that a replaced file and the
// links of a mounted Kubernetes secret are seen. It refuses whatever is not a regular
// file, and a file that everybody may read or write.
func File(path string) Source { return file(path) }

// Inline is a token written into the configuration. It is held to the same
// rules as one in a file.
func Inline(token secret.Text) Source { return inline{token} }

type inline struct{ token secret.Text }

func (inline) String() string { return "inline token" }

func (s inline) Read() (secret.Text, error) {
	token, err := ParseToken([]byte(s.token.Reveal()))
	return token, named(err, s)
}

type file string

func (f file) String() string { return "token_file " + string(f) }

func (f file) Read() (secret.Text, error) {
	content, err := f.content()
	if err != nil {
		return secret.Text{}, named(err, f)
	}
	token, err := ParseToken(content)
	return token, named(err, f)
}

// named writes the source's name into a TokenError.
func named(err error, source Source) error {
	if bad, ok := errors.AsType[*TokenError](err); ok {
		bad.Source = source.String()
	}
	return err
}

func (f file) content() ([]byte, error) {
	// Look before opening: opening a device may do something to it.
	info, err := os.Stat(string(f))
	if err != nil {
		return nil, fileError(err)
	}
	if err := checkFile(info); err != nil {
		return nil, err
	}
	// Should a FIFO have taken the file's place since, a blocking open would
	// hang until somebody writes to it.
	opened, err := os.OpenFile(string(f), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fileError(err)
	}
	defer opened.Close() // nothing was written; there is nothing to lose
	if info, err = opened.Stat(); err != nil {
		return nil, fileError(err)
	}
	if err := checkFile(info); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(opened, maxTokenBytes+1))
	if err != nil {
		return nil, fileError(err)
	}
	return content, nil // ParseToken refuses one byte too many
}

// checkFile refuses what is not a private regular file. The group may read
// it: that is how a service user is given a file of root's.
func checkFile(info fs.FileInfo) error {
	mode := info.Mode()
	switch {
	case mode.IsDir():
		return refuse("is a directory", "name the file in it that holds the API token")
	case !mode.IsRegular():
		return refuse("is not a regular file", "put the API token into a regular file (a pipe can be read only once, and the token is read at every use)")
	case mode.Perm()&0o004 != 0:
		return refuse(fmt.Sprintf("is readable by every user (mode %04o)", mode.Perm()),
			"chmod 600 it (Kubernetes secrets: defaultMode: 0400; Docker swarm secrets: mode: 0400)")
	case mode.Perm()&0o002 != 0:
		return refuse(fmt.Sprintf("is writable by every user (mode %04o)", mode.Perm()), "chmod 600 it")
	case info.Size() > maxTokenBytes:
		return errTooLarge()
	}
	return nil
}

// fileError says what an error of the file system means for a token file.
func fileError(err error) error {
	bad := &TokenError{Err: err}
	// The path is named by Source already; keep the cause alone.
	cause := err
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		cause = pathErr.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		bad.Reason = "does not exist"
		bad.Hint = "create it with the API token in it and chmod 600 it; in a container, check that the secret is mounted there"
	case errors.Is(err, fs.ErrPermission):
		bad.Reason = fmt.Sprintf("cannot be read by this process (user id %d): %v", os.Geteuid(), cause)
		bad.Hint = "make that user its owner (chown) or give it read permission through its group, and check the folders above it"
	default:
		bad.Reason = fmt.Sprintf("cannot be read: %v", cause)
		bad.Hint = "check the path and the file system it is on"
	}
	return bad
}

// keeper reads a Source at every use and keeps the last good token: what was
// working goes on working when a new file is unreadable or malformed.
type keeper struct {
	credential string
	source     Source
	log        *zap.Logger

	mu       sync.Mutex
	last     secret.Text // the last good token; zero before the first
	complain string      // the failure that was logged last; "" while all is well
	failed   bool        // a caller got an error since the last good token
	observer Observer    // nil: nobody
	changes  int         // how often a new token took effect: another one, or the first good one after a failure
}

// token returns the token to use now. While the source is bad that is the last good
// one; without one it is the source's error. A source that turns bad, and one that
// turns good again, are logged once.
func (k *keeper) token() (secret.Text, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	token, err := k.source.Read()
	if err != nil {
		if k.last.IsZero() {
			k.failed = true
			return secret.Text{}, fmt.Errorf("credential %q: %w", k.credential, err)
		}
		if k.complain != err.Error() {
			k.complain = err.Error()
			k.log.Error("new token cannot be used; the last good one stays in use",
				zap.String("token_source", k.source.String()),
				zap.String("fingerprint", k.last.Fingerprint()),
				zap.Error(err), zap.String("hint", Hint(err)))
		}
		return k.last, nil
	}
	switch {
	case k.last.IsZero() && !k.failed:
		k.log.Debug("token read", k.tokenFields(token)...)
	case k.last.IsZero():
		k.changes++
		k.taken()
		k.log.Info("token can be used now", k.tokenFields(token)...)
	case !k.last.Equal(token):
		k.changes++
		k.taken()
		k.log.Info("token changed", append(k.tokenFields(token), zap.String("previous_fingerprint", k.last.Fingerprint()))...)
	case k.complain != "":
		k.log.Info("token can be read again; it is the same as before", k.tokenFields(token)...)
	}
	k.last, k.complain, k.failed = token, "", false
	return token, nil
}

// taken tells that another token has taken effect.
func (k *keeper) taken() {
	if k.observer != nil {
		k.observer.TokenTaken(k.credential)
	}
}

func (k *keeper) tokenFields(token secret.Text) []zap.Field {
	return []zap.Field{zap.String("token_source", k.source.String()), zap.String("fingerprint", token.Fingerprint())}
}

// changed reads the source and returns how many times a new token has taken
// effect so far.
func (k *keeper) changed() int {
	_, _ = k.token() // failures are logged or met by whoever needs the token
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.changes
}

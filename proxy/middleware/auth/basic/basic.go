package basic

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/crypto/bcrypt"

	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/middleware/reread"
)

// Options says who may log in. Options are comparable: an Auth can be found by
// them.
type Options struct {
	// Realm is what the client shows to its user. Neither quotes nor control
	// characters. Empty: "Restricted".
	Realm string

	// UsersFile is an htpasswd file with bcrypt hashes. Read again when it
	// changes; one that has become bad leaves the users as they were.
	UsersFile string

	// Users are htpasswd lines themselves, if there is no file.
	Users string

	// PassAuthorization leaves the Authorization field in the request for the
	// server behind, which then sees the password. False removes it.
	PassAuthorization bool
}

// Auth lets requests with a known name and password pass.
type Auth struct {
	options   Options
	challenge []string
	load      func() *snapshot
	workers   *workers
}

// snapshot is a set of users with what is remembered of it, so that no outcome
// outlives the hash that it came from.
type snapshot struct {
	users
	memory *memory
}

// New reads the users. An error names the file and what is wrong with it, and
// may have a Hint.
func New(o Options, logger *zap.Logger) (*Auth, error) {
	realm := o.Realm
	if realm == "" {
		realm = "Restricted"
	}
	a := &Auth{options: o, workers: newWorkers(), challenge: []string{`Basic realm="` + realm + `", charset="UTF-8"`}}
	if o.UsersFile == "" {
		fixed, err := parse([]byte(o.Users))
		if err != nil {
			return nil, err
		}
		a.load = func() *snapshot { return &fixed }
		return a, nil
	}
	file, err := reread.Open(o.UsersFile, parse, func(err error) { told(logger, o.UsersFile, err) })
	if err != nil {
		return nil, err
	}
	a.load = file.Get
	return a, nil
}

func parse(text []byte) (snapshot, error) {
	u, err := parseUsers(text)
	return snapshot{u, newMemory()}, err
}

// told logs that the users' file was read again.
func told(logger *zap.Logger, path string, err error) {
	if err == nil {
		logger.Info("users read again", zap.String("file", path))
		return
	}
	fields := []zap.Field{zap.Error(err)}
	if bad, ok := errors.AsType[*HashError](err); ok {
		fields = append(fields, zap.String("hint", bad.Cure))
	}
	logger.Error("users not read again: those from before still count", fields...)
}

// Refusals.
var (
	errNoLogin = &exchange.Refusal{Status: http.StatusUnauthorized, Label: "login_missing", Reason: "the client sent no name and password"}
	errWrong   = &exchange.Refusal{Status: http.StatusUnauthorized, Label: "login_wrong", Reason: "the name or the password is wrong"}
	errTwice   = &exchange.Refusal{Status: http.StatusBadRequest, Label: "authorization_ambiguous", Reason: "the request has more than one Authorization field"}
	errBusy    = &exchange.Refusal{
		Status: http.StatusServiceUnavailable, Label: "login_busy", Reason: "too many passwords to check at once",
		Hint: "somebody may be guessing: put a rate_limit on the route, or let fewer addresses in with allow",
	}
)

// Wrap returns a handler that serves only requests of known users and sets the
// exchange's User. Others get 401 with a challenge; a request with several
// Authorization fields 400; one that came while too many passwords are being
// checked 503.
func (a *Auth) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fields := r.Header["Authorization"]
		if len(fields) > 1 {
			exchange.Refuse(w, r, errTwice)
			return
		}
		if len(fields) == 0 {
			a.refuse(w, r, errNoLogin)
			return
		}
		name, password, ok := parseCredentials(fields[0])
		if !ok {
			a.refuse(w, r, errNoLogin)
			return
		}
		switch a.login(r.Context(), name, password) {
		case wrong:
			a.refuse(w, r, errWrong)
			return
		case busy:
			w.Header()["Retry-After"] = []string{"5"}
			exchange.Refuse(w, r, errBusy)
			return
		}
		exchange.Of(r).User = name
		if !a.options.PassAuthorization {
			delete(r.Header, "Authorization")
		}
		next.ServeHTTP(w, r)
	})
}

func (a *Auth) refuse(w http.ResponseWriter, r *http.Request, err *exchange.Refusal) {
	w.Header()["Www-Authenticate"] = a.challenge
	exchange.Refuse(w, r, err)
}

// login checks a pair, by memory if it can.
func (a *Auth) login(ctx context.Context, name, password string) outcome {
	s := a.load()
	d := s.memory.digest(name, password)
	if o, known := s.memory.recall(ctx, d); known {
		return o
	}
	result := busy
	defer func() { s.memory.settle(d, result) }()
	if !a.workers.begin(ctx) {
		return busy
	}
	defer a.workers.end()
	hash, found := s.hashes[name]
	if !found {
		hash = s.decoy
	}
	result = wrong
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil && found {
		result = right
	}
	return result
}

// longestCredentials bounds what is decoded. bcrypt itself looks at no more than
// 72 bytes of a password.
const longestCredentials = 1024

// parseCredentials reads an Authorization field (RFC 7617 section 2). Control
// characters are refused, as the RFC says: with a zero byte in it, bcrypt takes
// more than one password for the same.
func parseCredentials(field string) (name, password string, ok bool) {
	scheme, encoded, ok := strings.Cut(field, " ")
	encoded = strings.TrimLeft(encoded, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") || len(encoded) > longestCredentials {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return "", "", false
	}
	for _, c := range decoded {
		if c < ' ' || c == 0x7f {
			return "", "", false
		}
	}
	return strings.Cut(string(decoded), ":")
}

package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

// listenTCP opens the listeners that need a token.
func (s *Server) listenTCP(ctx context.Context, o Options) error {
	if len(o.Addresses) > 0 && o.Token == nil {
		return errors.New("admin: a TCP listener needs a token")
	}
	for _, address := range o.Addresses {
		if l := adopt(o.Passed, address); l != nil {
			s.tcp = append(s.tcp, l)
			continue
		}
		var config net.ListenConfig
		l, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return &Error{Socket: address, Err: cause(err), Cure: "admin.listen must be an address of this machine that is free"}
		}
		s.tcp = append(s.tcp, l)
	}
	return nil
}

// guarded lets through who knows the token: as a bearer token (RFC 6750), which
// is for programs, or as the password of any user (RFC 7617), which browsers
// ask people for. A browser sends what it was told to every page that asks it
// to, so what changes something is refused when another site's page asks for it.
func (s *Server) guarded() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.knows(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="sallyport", charset="UTF-8"`)
			reply(w, http.StatusUnauthorized, &Failure{"the token is missing or wrong", "send it as a bearer token, or as the password of any user"})
			return
		}
		if err := http.NewCrossOriginProtection().Check(r); err != nil {
			reply(w, http.StatusForbidden, &Failure{"another site's page may not do this", ""})
			return
		}
		s.mux.ServeHTTP(w, r)
	})
}

// knows compares hashes, so that time tells nothing of the token, its length
// included.
func (s *Server) knows(r *http.Request) bool {
	want, err := s.token()
	if err != nil || want == "" {
		return false
	}
	_, got, ok := r.BasicAuth()
	if !ok {
		kind, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got, ok = strings.TrimSpace(rest), strings.EqualFold(kind, "Bearer")
	}
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return ok && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// leastToken is how many characters a token has at least.
const leastToken = 16

// ReadToken reads a token from a file, for Options.Token: at each use, so that a
// new one takes effect at once. Whatever is wrong with it, nobody gets in.
func ReadToken(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("admin.token_file: %w", err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, 4<<10))
	if err != nil {
		return "", fmt.Errorf("admin.token_file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if len(token) < leastToken {
		return "", errors.New("admin.token_file: the token is too short")
	}
	return token, nil
}

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
	"net/netip"
	"os"
	"strconv"
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
// to, so what changes something is refused when another site's page asks for it,
// and nobody is asked for the token under a foreign name.
func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !bears(r) && !local(r) {
			reply(w, http.StatusForbidden, &Failure{"this listener is not " + strconv.Quote(r.Host), "ask for it by its address or as localhost; programs may send a bearer token; a proxy in front sets `host: upstream`"})
			return
		}
		if !s.knows(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="sallyport", charset="UTF-8"`)
			reply(w, http.StatusUnauthorized, &Failure{"the token is missing or wrong", "send it as a bearer token, or as the password of any user"})
			return
		}
		if err := http.NewCrossOriginProtection().Check(r); err != nil {
			reply(w, http.StatusForbidden, &Failure{"another site's page may not do this", ""})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bears says whether the request has what only programs send: no page can make a
// browser add it without knowing the token.
func bears(r *http.Request) bool {
	kind, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(kind, "Bearer")
}

// local says whether a request that came to a loopback address asks for one. By
// another name a page of somebody's who lets that name lead here (DNS rebinding)
// would be of the same origin. Elsewhere than on loopback any name may be right.
func local(r *http.Request) bool {
	own, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if own == nil || !own.IP.IsLoopback() {
		return true
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if address, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return address.IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") // RFC 6761, section 6.3
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
		_, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got, ok = strings.TrimSpace(rest), bears(r)
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

package wire

// Lookalike reports whether a field name, in canonical form, is taken for one
// that frames a message or says who a client is by those who cannot tell "_"
// from "-": CGI and all that came after it.
func Lookalike(name string) bool {
	under := false
	var canonical [32]byte
	known := name[:min(len(name), len(canonical))] // longer ones matter only for how they begin
	upper := true
	for i := range len(known) {
		c := known[i]
		switch {
		case c == '_':
			c, under = '-', true
		case upper && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		upper = c == '-'
		canonical[i] = c
	}
	return under && Singular(string(canonical[:len(known)]))
}

// Singular reports whether a field, by its canonical name, frames a message or
// says who a client is.
func Singular(name string) bool {
	const forwarded = "X-Forwarded-"
	if len(name) > len(forwarded) && name[:len(forwarded)] == forwarded {
		return true
	}
	switch name {
	case "Content-Length", "Transfer-Encoding", "Proxy-Authorization", "X-Real-Ip", "X-Request-Id", "X-Client-Ip",
		"True-Client-Ip", "Cf-Connecting-Ip", "Remote-User", "X-Remote-User":
		return true
	}
	return false
}

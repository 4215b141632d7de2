package proxy

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// hopByHop reports whether a field is for one connection only and is never
// copied. Fields named in Connection are gone by the time this is asked.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings":
		return true
	}
	return false
}

func asksForTrailers(te []string) bool {
	for _, list := range te {
		for coding := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(coding), "trailers") {
				return true
			}
		}
	}
	return false
}

// adopter is a writer that takes a map as the header of its answer as long as
// there is nothing in it. What reports false has not.
type adopter interface{ Adopt(http.Header) bool }

// answerHeader returns the header of the answer, with a server's end-to-end
// fields in it. Nearly always it is the server's own map, which is nobody else's.
func answerHeader(w http.ResponseWriter, from http.Header) http.Header {
	if to, ok := w.(adopter); ok && to.Adopt(from) {
		keepEndToEnd(from)
		return from
	}
	h := w.Header()
	copyResponseHeader(h, from)
	return h
}

// keepEndToEnd removes from a server's header what copyResponseHeader would
// not copy.
func keepEndToEnd(h http.Header) {
	nominated := h["Connection"]
	for name := range h {
		if hopByHop(name) || names(nominated, name) {
			delete(h, name)
		}
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil
	}
}

// copyResponseHeader adds a server's end-to-end fields to h. Date and Server
// stay the server's; Content-Type is never guessed.
func copyResponseHeader(h, from http.Header) {
	nominated := from["Connection"]
	for name, values := range from {
		switch {
		case hopByHop(name) || names(nominated, name):
		case h[name] == nil:
			h[name] = values
		default:
			h[name] = append(slices.Clip(h[name]), values...)
		}
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil
	}
}

// names reports whether a Connection field has an option.
func names(connection []string, option string) bool {
	for _, list := range connection {
		for name := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(name), option) {
				return true
			}
		}
	}
	return false
}

// trailerAllowed reports whether a field may come after the body: not what
// frames, routes or authenticates a message, nor what only we may say (RFC 9110
// section 6.5.1), since an application may merge trailers into the header.
func trailerAllowed(name string) bool {
	switch name {
	case "Host", "Authorization", "Cookie", "Set-Cookie", "Expect", "Cache-Control", "Date", "Vary", "Location", "Range":
		return false
	}
	return !hopByHop(name) && !forged(name) && !strings.HasPrefix(name, "Content-") && !strings.ContainsRune(name, '_')
}

// announceTrailers declares the trailers that the server announced. A trailer
// needs chunks in HTTP/1.1, so a length known beforehand gives way to it.
func announceTrailers(h, trailer http.Header) {
	for name := range trailer {
		if trailerAllowed(name) {
			h["Trailer"] = append(h["Trailer"], name)
		}
	}
	if len(h["Trailer"]) > 0 {
		delete(h, "Content-Length")
	}
}

// setTrailers sets the trailers that came with the end of the body, announced
// or not.
func setTrailers(h, trailer http.Header) {
	for name, values := range trailer {
		switch {
		case !trailerAllowed(name):
		case slices.Contains(h["Trailer"], name):
			h[name] = values
		default:
			h[http.TrailerPrefix+name] = values
		}
	}
}

// allowedTrailers returns a copy of what may pass of a request's trailers.
func allowedTrailers(trailer http.Header, reserved []string) http.Header {
	out := make(http.Header, len(trailer))
	maps.Copy(out, trailer)
	maps.DeleteFunc(out, func(name string, _ []string) bool { return !trailerAllowed(name) || slices.Contains(reserved, name) })
	return out
}

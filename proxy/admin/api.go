package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Control is what the API shows and does. Fields that are nil are answered with
// 501. All must be safe for concurrent use.
type Control struct {
	// Status returns everything that there is to know.
	Status func() *Status

	// Pulse returns what changes by the second, for the page: it must be quick.
	Pulse func() Pulse

	// Reload reads the configuration again and returns what came of it.
	Reload func(context.Context) Reload

	// Plan says what a configuration, whose text this is, would change. The name
	// is that of its file.
	Plan func(name string, text []byte) Plan

	// Upgrade starts another process from the binary at a path, "" for our own,
	// hands everything over to it and returns its PID once it serves. On error
	// nothing has changed.
	Upgrade func(ctx context.Context, binary string) (pid int, err error)

	// Renew has the certificate of a name renewed now; it returns before that
	// has happened.
	Renew func(name string) error

	// Purge forgets what caches keep for a host and a path (which may end in
	// "*"), and returns how many resources that were.
	Purge func(host, path string) int

	// Drain takes a server out of the choice, or back in, and returns in how
	// many upstreams it was found.
	Drain func(server string, on bool) int

	// LogLevel sets the level of the log, and returns what it was.
	LogLevel func(level string) (string, error)

	// Explain says what would become of a request; see the package explain for
	// the question and the answer.
	Explain func(ctx context.Context, question url.Values) (any, error)
}

// Pulse is what changes by the second.
type Pulse struct {
	Now      time.Time `json:"now"`
	Problems []string  `json:"problems,omitempty"`
	Open     int       `json:"open"` // connections
	Traffic  Traffic   `json:"traffic"`

	// Revision changes when anything else of the status may have.
	Revision string `json:"revision"`
}

// Serve adds the endpoints of c. Call it before Run.
//
// Answers are JSON. What could not be done is a [Failure] with a status of 4xx,
// or 5xx where it is our own fault. Everything that changes something is a POST.
func (s *Server) Serve(c Control) {
	s.Handle("GET /v1/status", answers(c.Status != nil, func(*http.Request) (any, error) { return c.Status(), nil }))
	part := func(path string, of func(*Status) any) {
		s.Handle("GET /v1/"+path, answers(c.Status != nil, func(*http.Request) (any, error) { return of(c.Status()), nil }))
	}
	part("config", func(s *Status) any { return s.Config })
	part("sites", func(s *Status) any { return s.Sites })
	part("certificates", func(s *Status) any { return s.Certificates })
	part("credentials", func(s *Status) any { return s.Credentials })
	part("upstreams", func(s *Status) any { return s.Upstreams })
	part("events", func(s *Status) any { return s.Events })

	s.serveDeeds(c)
	s.Handle("POST /v1/explain", answers(c.Explain != nil, func(r *http.Request) (any, error) {
		if err := r.ParseForm(); err != nil {
			return nil, &Failure{"the question cannot be read: " + err.Error(), ""}
		}
		return c.Explain(r.Context(), r.Form)
	}))
	s.Handle("GET /v1/pulse", pulses(c.Pulse))
	s.Handle("GET /{$}", page())
}

// serveDeeds adds what asks for something to be done.
func (s *Server) serveDeeds(c Control) {
	s.Handle("POST /v1/reload", answers(c.Reload != nil, func(r *http.Request) (any, error) { return c.Reload(r.Context()), nil }))
	s.Handle("POST /v1/plan", answers(c.Plan != nil, func(r *http.Request) (any, error) {
		return c.Plan(r.FormValue("name"), []byte(r.FormValue("config"))), nil
	}))
	s.Handle("POST /v1/upgrade", answers(c.Upgrade != nil, func(r *http.Request) (any, error) {
		pid, err := c.Upgrade(r.Context(), r.FormValue("binary"))
		if err != nil {
			return nil, refusal(err)
		}
		return Done{fmt.Sprintf("another process serves now, and this one ends what it has under way; pid of the new one: %d", pid), pid}, nil
	}))
	s.Handle("POST /v1/renew", answers(c.Renew != nil, func(r *http.Request) (any, error) {
		name := r.FormValue("name")
		if err := c.Renew(name); err != nil {
			return nil, refusal(err)
		}
		return Done{Message: "renewal of " + name + " asked for"}, nil
	}))
	s.Handle("POST /v1/purge", answers(c.Purge != nil, c.purge))
	s.Handle("POST /v1/drain", answers(c.Drain != nil, c.drain))
	s.Handle("POST /v1/log-level", answers(c.LogLevel != nil, func(r *http.Request) (any, error) {
		level := r.FormValue("level")
		before, err := c.LogLevel(level)
		if err != nil {
			return nil, refusal(err)
		}
		return Done{Message: "log level " + level + ", was " + before}, nil
	}))
}

func (c *Control) purge(r *http.Request) (any, error) {
	host, path := r.FormValue("host"), r.FormValue("path")
	if host == "" || path == "" || path[0] != '/' {
		return nil, &Failure{"purge wants a host and a path", "the path begins with a slash and may end in *"}
	}
	n := c.Purge(host, path)
	if n == 0 {
		return Done{"nothing was kept for that", 0}, nil
	}
	return Done{"purged " + counted(n, "resource"), n}, nil
}

func (c *Control) drain(r *http.Request) (any, error) {
	server := r.FormValue("server")
	on, err := strconv.ParseBool(r.FormValue("on"))
	if err != nil {
		return nil, &Failure{"drain wants on=true or on=false", ""}
	}
	n := c.Drain(server, on)
	switch {
	case n == 0:
		return nil, &Failure{"there is no server " + server, "sallyport status shows the addresses as the configuration has them"}
	case on:
		return Done{"the server gets no new requests in " + counted(n, "upstream"), n}, nil
	}
	return Done{"the server gets requests again in " + counted(n, "upstream"), n}, nil
}

// counted is a number of things.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// mostBody bounds what is sent to an endpoint: a configuration, escaped.
const mostBody = 32 << 20

// answers makes an endpoint of a function that returns what to answer.
func answers(known bool, answer func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		if !known {
			reply(w, http.StatusNotImplemented, &Failure{Message: "this process cannot do that"})
			return
		}
		value, err := answer(r)
		if failure, ok := errors.AsType[*Failure](err); ok {
			reply(w, http.StatusUnprocessableEntity, failure)
			return
		}
		if err != nil {
			reply(w, http.StatusInternalServerError, &Failure{Message: err.Error()})
			return
		}
		reply(w, http.StatusOK, value)
	})
}

// routed is the mux, with what it does not have said in JSON, too.
func (s *Server) routed() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := s.mux.Handler(r); pattern != "" {
			s.mux.ServeHTTP(w, r)
			return
		}
		s.mux.ServeHTTP(&unknown{w, r}, r)
	})
}

// unknown turns the mux's own 404 and 405 into a Failure. The header Allow stays.
type unknown struct {
	http.ResponseWriter
	request *http.Request
}

// WriteHeader answers.
func (u *unknown) WriteHeader(status int) {
	reply(u.ResponseWriter, status, &Failure{"there is no " + u.request.Method + " " + u.request.URL.Path, "the package proxy/admin lists what there is"})
}

// Write drops the mux's text.
func (u *unknown) Write(text []byte) (int, error) { return len(text), nil }

// refusal makes a Failure of an error that the caller is to blame for.
func refusal(err error) error {
	hint := ""
	if knows, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		hint = knows.Hint()
	}
	return &Failure{err.Error(), hint}
}

func reply(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}

// mostWatchers bounds the pages that are open at a time.
const mostWatchers = 32

// pulses sends a Pulse each second as server-sent events, until the client goes
// or the server stops.
func pulses(pulse func() Pulse) http.Handler {
	watchers := make(chan struct{}, mostWatchers)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pulse == nil {
			reply(w, http.StatusNotImplemented, &Failure{Message: "this process cannot do that"})
			return
		}
		select {
		case watchers <- struct{}{}:
			defer func() { <-watchers }()
		default:
			reply(w, http.StatusServiceUnavailable, &Failure{"too many status pages are open", "close some"})
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		control := http.NewResponseController(w)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			body, err := json.Marshal(pulse())
			if err != nil {
				return
			}
			_ = control.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if _, err := w.Write([]byte("data: " + string(body) + "\n\n")); err != nil {
				return
			}
			if err := control.Flush(); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
}

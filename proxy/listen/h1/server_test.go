package h1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// both runs a test over TCP and over TLS.
func both(t *testing.T, test func(t *testing.T, secure bool)) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) { test(t, secure) })
	}
}

func (w *world) connect(secure bool) *client {
	if secure {
		return w.dialTLS()
	}
	return w.dial()
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		w := serve(t, secure, Options{}, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s", r.URL.Path, b)
		})
		c := w.connect(secure)
		c.say("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxyPOST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"1\r\nz\r\n0\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /5 HTTP/1.1\r\nHost: a\r\n\r\n")
		for _, want := range []string{"/1 ", "/2 xy", "/3 z", "/4 "} {
			if _, b := c.answer("GET"); b != want {
				t.Errorf("got %q, want %q", b, want)
			}
		}
		c.closed()
	})
}

// tally counts the writes below.
type tally struct {
	net.Conn
	writes []string
}

func (c *tally) Write(p []byte) (int, error) {
	c.writes = append(c.writes, string(p))
	return c.Conn.Write(p)
}

// exchangeOn has the script answered on one end of a pipe and returns what was
// written, write by write.
func exchangeOn(t *testing.T, script string, h http.HandlerFunc) []string {
	t.Helper()
	server, client := net.Pipe()
	c := &tally{Conn: server}
	s := New(Options{Handler: h, Logger: zap.NewNop()})
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(c) }()
	go io.WriteString(client, script)
	go io.Copy(io.Discard, client)
	<-done
	client.Close()
	return c.writes
}

func TestHeadAndBodyLeaveInOneWrite(t *testing.T) {
	const last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		writes  int
	}{
		"small":        {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "Hello, world!") }, 1},
		"nothing":      {func(w http.ResponseWriter, r *http.Request) {}, 1},
		"small pieces": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a"); io.WriteString(w, "b") }, 1},
		"announced": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1")
			io.WriteString(w, "a")
		}, 1},
		"chunked": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X")
			io.WriteString(w, "a")
			w.Header().Set("X", "y")
		}, 1},
		"four records full": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "65000")
			w.Write(make([]byte, 65000))
		}, 4},
		"copied": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			for range 10 {
				w.Write(make([]byte, 10000))
			}
		}, 7},
		"read from": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			io.Copy(w, io.LimitReader(strings.NewReader(strings.Repeat("x", 100000)), 100000))
		}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			writes := exchangeOn(t, last, c.handler)
			if len(writes) != c.writes {
				t.Errorf("%d writes, want %d", len(writes), c.writes)
			}
			res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(strings.Join(writes, ""))), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(res.Body); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestExpectContinueIsSentWhenTheBodyIsRead(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		read := make(chan bool, 1)
		w := serve(t, secure, Options{}, func(w http.ResponseWriter, r *http.Request) {
			if <-read {
				b, _ := io.ReadAll(r.Body)
				w.Write(b)
			} else {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
			}
		})
		const head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
		c := w.connect(secure)
		c.say(head)
		read <- true
		if line, _ := c.r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("got %q", line)
		}
		c.r.ReadString('\n')
		c.say("hello")
		if _, b := c.answer("POST"); b != "hello" {
			t.Errorf("got %q", b)
		}
		c.say(head)
		read <- false
		if res, _ := c.answer("POST"); res.StatusCode != 413 || !res.Close {
			t.Errorf("status %d, close %t: nobody can know whether the body follows", res.StatusCode, res.Close)
		}
		c.closed()
	})
}

func TestEarlyAnswerIsReceivedByAClientThatIsStillSending(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		w := serve(t, secure, Options{}, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(413) })
		for range 20 {
			c := w.connect(secure)
			c.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
			for range 64 {
				if _, err := c.Write(make([]byte, 32<<10)); err != nil {
					break // told to stop
				}
			}
			if res, _ := c.answer("POST"); res.StatusCode != 413 || !res.Close {
				t.Fatalf("status %d, close %t", res.StatusCode, res.Close)
			}
			c.Close()
		}
	})
}

func TestClientThatLeavesEndsTheRequestsContext(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		for name, body := range map[string]string{"no body": "", "body read": "Content-Length: 2\r\n", "body not asked for": "Content-Length: 2\r\nExpect: 100-continue\r\n"} {
			t.Run(name, func(t *testing.T) {
				arrived, cancelled := make(chan struct{}), make(chan error, 1)
				w := serve(t, secure, Options{}, func(w http.ResponseWriter, r *http.Request) {
					if !strings.Contains(body, "Expect") {
						io.ReadAll(r.Body)
					}
					called := make(chan struct{})
					derived, stop := context.WithTimeout(r.Context(), 20*time.Second)
					defer stop()
					context.AfterFunc(r.Context(), func() { close(called) })
					close(arrived)
					<-r.Context().Done()
					<-called
					<-derived.Done()
					cancelled <- derived.Err()
				})
				c := w.connect(secure)
				c.say("POST / HTTP/1.1\r\nHost: a\r\n" + body + "\r\n")
				if name == "body read" {
					c.say("xy")
				}
				<-arrived
				c.Close()
				if err := <-cancelled; err != context.Canceled {
					t.Errorf("context: %v", err)
				}
			})
		}
	})
}

func TestPipelinedByteSeenWhileWatchingIsNotLost(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		more := make(chan struct{})
		w := serve(t, secure, Options{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-more
			}
			io.WriteString(w, r.URL.Path)
		})
		c := w.connect(secure)
		c.say("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
		time.AfterFunc(3*watchDelay, func() {
			io.WriteString(c, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
			time.AfterFunc(watchDelay, func() { close(more) })
		})
		for _, want := range []string{"/slow", "/next"} {
			if _, b := c.answer("GET"); b != want {
				t.Errorf("got %q, want %q", b, want)
			}
		}
		c.say("GET /again HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, b := c.answer("GET"); b != "/again" {
			t.Errorf("got %q", b)
		}
	})
}

func TestContextEndsWithTheHandler(t *testing.T) {
	contexts := make(chan context.Context, 1)
	w := serve(t, false, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Err() != nil || r.Context().Value(http.LocalAddrContextKey).(net.Addr).String() == "" {
			t.Error("done too early, or without an address")
		}
		contexts <- r.Context()
	})
	c := w.dial()
	c.say(get)
	c.answer("GET")
	ctx := <-contexts
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Second):
		t.Error("the context goes on")
	}
}

func TestHijackGivesTheConnectionWithWhatCameAhead(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		w := serve(t, secure, Options{HeaderTimeout: time.Second, IdleTimeout: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			_ = control.SetReadDeadline(time.Now().Add(time.Second))
			c, rw, err := control.Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
				t.Errorf("writing after Hijack: %v", err)
			}
			if _, _, err := control.Hijack(); !errors.Is(err, http.ErrHijacked) {
				t.Errorf("hijacking twice: %v", err)
			}
			go func() { // the connection outlives the handler
				defer c.Close()
				if ahead, _ := rw.Peek(rw.Reader.Buffered()); string(ahead) != "ahead" {
					t.Errorf("ahead %q", ahead)
				}
				io.Copy(c, rw)
			}()
		})
		c := w.connect(secure)
		c.say("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nahead")
		time.AfterFunc(1500*time.Millisecond, func() { // past all limits
			io.WriteString(c, " later")
			c.Conn.(interface{ CloseWrite() error }).CloseWrite()
		})
		if b, err := io.ReadAll(c.r); err != nil || string(b) != "ahead later" {
			t.Errorf("%q %v", b, err)
		}
	})
}

func TestPanicsEndTheConnection(t *testing.T) {
	for name, value := range map[string]any{"abort": http.ErrAbortHandler, "bug": "boom"} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, true, Options{}, func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "half")
				if r.URL.Path == "/late" {
					http.NewResponseController(w).Flush()
				}
				panic(value)
			})
			c := w.dialTLS()
			c.say(get)
			if b, _ := io.ReadAll(c.r); len(b) > 0 {
				t.Errorf("got %q", b)
			}
			c = w.dialTLS()
			c.say("GET /late HTTP/1.0\r\nHost: a\r\n\r\n")
			res, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			// HTTP/1.0 ends a body by closing, so it takes more to show that something is missing.
			if b, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("a cut body looks whole: %q %v", b, err)
			}
			w.server.Close()
			w.served.Wait()
			if n := w.logs.FilterMessageSnippet("panic").Len(); (n > 0) != (name == "bug") {
				t.Errorf("%d lines", n)
			}
		})
	}
}

func TestHandlerThatWritesTooLittleOrTooMuch(t *testing.T) {
	w := serve(t, false, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		if r.URL.Path == "/less" {
			io.WriteString(w, "123")
			return
		}
		if _, err := io.WriteString(w, "123456"); !errors.Is(err, http.ErrContentLength) {
			t.Errorf("too much: %v", err)
		}
		io.WriteString(w, "12345")
	})
	c := w.dial()
	c.say("GET /more HTTP/1.1\r\nHost: a\r\n\r\n")
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	c = w.dial()
	c.say("GET /less HTTP/1.1\r\nHost: a\r\n\r\n")
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) && !isReset(err) {
		t.Errorf("%q %v", b, err)
	}
}

func TestDeadlinesOfAHandler(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		w := serve(t, secure, Options{}, func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			if err := control.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
				t.Error(err)
			}
			if _, err := r.Body.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read: %v", err)
			}
			_ = control.SetReadDeadline(time.Time{})
			io.WriteString(w, "go on")
			if err := control.Flush(); err != nil {
				t.Error(err)
			}
			if b, err := io.ReadAll(r.Body); string(b) != "x" || err != nil {
				t.Errorf("read later: %q %v", b, err)
			}
			if err := control.SetWriteDeadline(time.Unix(1, 0)); err != nil {
				t.Error(err)
			}
			io.WriteString(w, "lost")
			if err := control.Flush(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("write: %v", err)
			}
			if r.Context().Err() == nil {
				t.Error("the context does not know that nobody can be written to")
			}
		})
		c := w.connect(secure)
		c.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
		res, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(res.Body, make([]byte, 5))
		c.say("x")
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("a broken response looks whole")
		}
	})
}

// Everything that a handler leaks must be dead, not somebody else's.
func TestLateUseTouchesNothing(t *testing.T) {
	type leaked struct {
		w http.ResponseWriter
		r *http.Request
	}
	leaks := make(chan leaked, 1)
	first := true
	w := serve(t, false, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if first {
			first = false
			leaks <- leaked{w, r}
			return
		}
		old := <-leaks
		control := http.NewResponseController(old.w)
		if _, err := old.w.Write([]byte("x")); err == nil {
			t.Error("Write works")
		}
		if control.Flush() == nil || control.SetReadDeadline(time.Unix(1, 0)) == nil || control.SetWriteDeadline(time.Unix(1, 0)) == nil {
			t.Error("control works")
		}
		if _, _, err := control.Hijack(); err == nil {
			t.Error("Hijack works")
		}
		if n, err := old.r.Body.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Error("Read works")
		}
		old.w.WriteHeader(500)
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %v", b, err)
	})
	c := w.dial()
	c.say("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n2")
	c.answer("POST")
	if _, b := c.answer("POST"); b != "2 <nil>" {
		t.Errorf("got %q", b)
	}
}

func TestReaderThatOutlivesItsHandlerIsWokenUp(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		woken := make(chan error, 1)
		w := serve(t, secure, Options{}, func(w http.ResponseWriter, r *http.Request) {
			reading := make(chan struct{})
			go func() {
				r.Body.Read(make([]byte, 1))
				close(reading)
				_, err := r.Body.Read(make([]byte, 1))
				woken <- err
			}()
			<-reading
			w.WriteHeader(204)
		})
		c := w.connect(secure)
		c.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
		if res, _ := c.answer("POST"); res.StatusCode != 204 || !res.Close {
			t.Errorf("status %d, close %t", res.StatusCode, res.Close)
		}
		if err := <-woken; err == nil {
			t.Error("no error")
		}
	})
}

func TestDrain(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		arrived, finish := make(chan struct{}), make(chan struct{})
		w := serve(t, secure, Options{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/busy" {
				close(arrived)
				<-finish
			}
		})
		fresh, idle, busy := w.connect(secure), w.connect(secure), w.connect(secure)
		idle.say(get)
		idle.answer("GET")
		busy.say("GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
		<-arrived
		soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := w.server.Shutdown(soon); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown with a request under way: %v", err)
		}
		fresh.closed()
		idle.closed()
		time.AfterFunc(10*time.Millisecond, func() { close(finish) })
		if err := w.server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if res, _ := busy.answer("GET"); !res.Close {
			t.Error("not told that the connection closes")
		}
		busy.closed()
		if !secure {
			w.dial().closed()
		}
	})
}

// in a bubble, so that times are exact.
func TestTimesOfAConnection(t *testing.T) {
	for name, c := range map[string]struct {
		say    []string // a minute's fraction between each
		pause  time.Duration
		want   string
		after  time.Duration
		status string
	}{
		"silence":              {nil, 0, "", 10 * time.Second, ""},
		"dribbling head":       {strings.Split("GET / HTTP/1.1\r\nHost: a.test\r\nX: abcdefghijklmnopqrstuvw\r\n\r\n", ""), time.Second, "HTTP/1.1 408 Request Timeout\r\n", 10 * time.Second, ""},
		"idle":                 {[]string{get}, 0, "HTTP/1.1 200 OK\r\n", time.Minute, ""},
		"idle after a second":  {[]string{get, get}, 50 * time.Second, "HTTP/1.1 200 OK\r\n", 110 * time.Second, ""},
		"idle between several": {[]string{get, get, get, get, get, get}, 7 * time.Second, "HTTP/1.1 200 OK\r\n", 95 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, client := net.Pipe()
				s := New(Options{
					Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Logger: zap.NewNop(),
					HeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
				})
				began := time.Now()
				var sayer sync.WaitGroup
				defer sayer.Wait()
				sayer.Go(func() {
					for i, piece := range c.say {
						if i > 0 {
							time.Sleep(c.pause)
						}
						if _, err := io.WriteString(client, piece); err != nil {
							return
						}
					}
				})
				heard := make(chan string, 1)
				var lasted time.Duration
				go func() {
					b, _ := io.ReadAll(client)
					lasted = time.Since(began)
					client.Close()
					heard <- string(b)
				}()
				s.Serve(server)
				if got := <-heard; !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
					t.Errorf("heard %q", got)
				}
				if lasted != c.after {
					t.Errorf("it took %v, want %v", lasted, c.after)
				}
			})
		})
	}
}

func TestIdleConnectionHasNoBuffer(t *testing.T) {
	idle := make(chan struct{}, 1)
	w := serve(t, true, Options{State: func(_ net.Conn, s http.ConnState) {
		if s == http.StateIdle {
			idle <- struct{}{}
		}
	}}, func(http.ResponseWriter, *http.Request) {})
	c := w.dialTLS()
	c.say(get)
	c.answer("GET")
	<-idle
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	for c := range w.server.open {
		if c.scratch != nil {
			t.Error("it has a read buffer")
		}
	}
}

func TestRestedConnectionGoesOn(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		started := make(chan struct{}, 1)
		w := serve(t, secure, Options{IdleTimeout: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/wait" {
				started <- struct{}{}
				<-r.Context().Done()
			}
		})
		c := w.connect(secure)
		c.say(get)
		c.answer("GET")
		w.served.Wait() // Serve has returned: another goroutine waits
		c.say(get)
		if res, _ := c.answer("GET"); res.StatusCode != 200 {
			t.Errorf("status %d", res.StatusCode)
		}
		// Watching works as before.
		c.say("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
		<-started
		c.Close()
		if err := w.server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestTLSStateIsTold(t *testing.T) {
	states := make(chan *tls.ConnectionState, 1)
	w := serve(t, true, Options{}, func(w http.ResponseWriter, r *http.Request) { states <- r.TLS })
	c := w.dialTLS()
	c.say(get)
	c.answer("GET")
	if state := <-states; state == nil || !state.HandshakeComplete {
		t.Errorf("%v", state)
	}
}

// TestBodyHasItsTimeHoweverSlowlyTheHeadBegan: what counts for it is the end of
// the head, also if that came at once but for a byte.
func TestBodyHasItsTimeHoweverSlowlyTheHeadBegan(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		began := make(chan time.Time, 1)
		w := serve(t, secure, Options{}, func(w http.ResponseWriter, r *http.Request) {
			began <- r.Context().(*requestContext).Began()
			io.Copy(w, r.Body)
		})
		c := w.connect(secure)
		c.say("P")
		sent := make(chan time.Time, 1)
		time.AfterFunc(100*time.Millisecond, func() {
			sent <- time.Now()
			io.WriteString(c, "OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok")
		})
		if _, b := c.answer("POST"); b != "ok" {
			t.Errorf("got %q", b)
		}
		if early := (<-sent).Sub(<-began); early > 0 {
			t.Errorf("the clock ran %v before the head was there", early)
		}
	})
}

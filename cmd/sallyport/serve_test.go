package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These tests run the real program as a process, with the internal CA so that
// no ACME server is needed.

// internalSite is a configuration of one site with a certificate of our own CA.
func internalSite(server string) string {
	return "sites:\n  app.localhost: " + server + "\n"
}

// visitor is a client that trusts the root at path and finds every name at address.
func visitor(t *testing.T, address, rootPath string) *http.Client {
	t.Helper()
	root, err := os.ReadFile(rootPath)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(root) {
		t.Fatalf("no certificate in %s", rootPath)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, address)
		},
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// page fetches a page and returns status and body.
func page(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// greeter is a server that says who it is.
func greeter(t *testing.T, name string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, name)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestProcessServesFromASealedEnvironmentUnderTheSamePID(t *testing.T) {
	dir := shortDir(t)
	path := writeConfig(t, dir, internalSite(greeter(t, "hello").URL))
	i := start(t, []string{"CF_API_KEY=x", "CF_API_EMAIL=y", "HOME=/nonexistent", "GODEBUG=http2debug=1"}, "run", "--config", path)
	address := i.https()

	if got := i.proc("environ"); got != "" {
		t.Errorf("environ is %q, want nothing", got)
	}
	if got, want := i.proc("cmdline"), "sallyport\x00run\x00--config\x00"+path+"\x00"; got != want {
		t.Errorf("command line is %q, want the one that was typed, %q", got, want)
	}
	if pid, _ := i.awaitMessage("starting").fields["pid"].(float64); int(pid) != i.cmd.Process.Pid {
		t.Errorf("the process logs PID %v, started was %d", pid, i.cmd.Process.Pid)
	}
	client := visitor(t, address, filepath.Join(dir, "storage", "localca", "root.pem"))
	if status, body := page(t, client, "https://app.localhost/"); status != 200 || body != "hello" {
		t.Errorf("got %d %q", status, body)
	}
	if n := strings.Count(i.log(), "environment variables ignored"); n != 1 {
		t.Errorf("the ignored variables are logged %d times, want once", n)
	}
	line := i.awaitMessage("environment variables ignored").raw
	for _, name := range []string{"CF_API_KEY", "CF_API_EMAIL", "GODEBUG"} {
		if !strings.Contains(line, name) {
			t.Errorf("%s is not named in %s", name, line)
		}
	}
}

func TestServiceManagersVariablesPassTheSealAndAreUsed(t *testing.T) {
	dir := shortDir(t)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	path := writeConfig(t, dir, internalSite("http://127.0.0.1:9"))
	notify := "NOTIFY_SOCKET=" + filepath.Join(dir, "notify")
	i := start(t, []string{notify, "CF_API_KEY=x"}, "run", "--config", path)

	next := func(want string) {
		t.Helper()
		if err := socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		message := make([]byte, 1000)
		n, err := socket.Read(message)
		if err != nil || !strings.HasPrefix(string(message[:n]), want) {
			t.Fatalf("the service manager was told %q (%v), want %q", message[:n], err, want)
		}
	}
	next("READY=1\nSTATUS=serving 1 sites")
	i.signal(syscall.SIGHUP)
	next("RELOADING=1\nMONOTONIC_USEC=")
	next("READY=1\nSTATUS=serving 1 sites")
	if got := i.proc("environ"); got != notify+"\x00" {
		t.Errorf("environ is %q, want only NOTIFY_SOCKET", got)
	}
	i.signal(syscall.SIGQUIT)
	next("STOPPING=1")
}

func TestReloadTakesNewSitesAndABadFileChangesNothing(t *testing.T) {
	dir := shortDir(t)
	first, second := greeter(t, "first"), greeter(t, "second")
	path := writeConfig(t, dir, internalSite(first.URL))
	i := start(t, nil, "run", "--config", path)
	client := visitor(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"))
	expect := func(url, want string) {
		t.Helper()
		if _, body := page(t, client, url); body != want {
			t.Fatalf("%s answered %q, want %q", url, body, want)
		}
	}
	expect("https://app.localhost/", "first")

	reload := func(rest, message string) logLine {
		t.Helper()
		writeConfig(t, dir, rest)
		from := i.seen()
		i.signal(syscall.SIGHUP)
		line, _ := i.await(from, message, func(l logLine) bool { return l.message() == message })
		return line
	}
	reload("sites: {app.localhost: 'http://", "reload failed; the previous configuration keeps serving")
	expect("https://app.localhost/", "first")
	line := reload("admin: {socket: off}\n"+internalSite(second.URL), "reload failed; the previous configuration keeps serving")
	if !strings.Contains(line.raw, "admin.socket") || !strings.Contains(line.raw, "restart") {
		t.Errorf("the log does not say what needs a restart: %s", line.raw)
	}
	expect("https://app.localhost/", "first")

	reload(internalSite(second.URL)+"  more.localhost: "+first.URL+"\n", "configuration reloaded")
	expect("https://app.localhost/", "second")
	expect("https://more.localhost/", "first")
}

func TestQuitFinishesWhatIsInFlightAndTermDoesNot(t *testing.T) {
	for _, test := range []struct {
		signal   syscall.Signal
		finishes bool
	}{{syscall.SIGQUIT, true}, {syscall.SIGTERM, false}} {
		t.Run(test.signal.String(), func(t *testing.T) {
			dir := shortDir(t)
			arrived, release := make(chan struct{}), make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(arrived)
				select {
				case <-release:
					_, _ = io.WriteString(w, "done")
				case <-r.Context().Done():
				}
			}))
			defer server.Close()
			i := start(t, nil, "run", "--config", writeConfig(t, dir, internalSite(server.URL)))
			client := visitor(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"))
			result := make(chan error, 1)
			go func() {
				response, err := client.Get("https://app.localhost/")
				if err == nil {
					_, err = io.ReadAll(response.Body)
					_ = response.Body.Close()
				}
				result <- err
			}()
			<-arrived
			i.signal(test.signal)
			i.awaitMessage("stopping")
			if !test.finishes {
				<-i.ended
				if err := <-result; err == nil {
					t.Error("the request was finished by a fast stop")
				}
				return
			}
			close(release)
			if err := <-result; err != nil {
				t.Errorf("the request in flight failed: %v", err)
			}
			<-i.ended
			if i.endErr != nil {
				t.Errorf("the process ended with %v", i.endErr)
			}
		})
	}
}

func TestHealthcheckAnswersOverTheControlSocket(t *testing.T) {
	dir := shortDir(t)
	path := writeConfig(t, dir, internalSite("http://127.0.0.1:9"))
	i := start(t, nil, "run", "--config", path)
	i.awaitMessage("serving")
	ask := func() (int, string) {
		var stderr strings.Builder
		code := execute(sealing{}, []string{"healthcheck", "--config", path}, io.Discard, &stderr)
		return code, stderr.String()
	}
	if code, text := ask(); code != exitOK {
		t.Errorf("running: exit code %d: %s", code, text)
	}
	i.stop(syscall.SIGQUIT)
	if code, text := ask(); code != exitFailure || !strings.Contains(text, "hint: ") {
		t.Errorf("stopped: exit code %d: %s", code, text)
	}
}

func TestDevServesLocalhostFromOneCommand(t *testing.T) {
	dir := shortDir(t)
	server := greeter(t, "development")
	data := filepath.Join(dir, "data")
	i := start(t, nil, "dev", "--to", strings.TrimPrefix(server.URL, "http://"), "--listen", "127.0.0.1:0", "--dir", data)
	i.await(0, "serving", func(l logLine) bool { return strings.Contains(l.raw, "serving") })
	i.stop(syscall.SIGQUIT) // the greeting is complete when the process has ended
	greeting := i.stdout.String()
	for _, want := range []string{"https://localhost:", server.URL, "curl --cacert " + filepath.Join(data, "localca", "root.pem")} {
		if !strings.Contains(greeting, want) {
			t.Errorf("the greeting lacks %q:\n%s", want, greeting)
		}
	}

	address := freePort(t)
	i = start(t, nil, "dev", "--to", portOf(t, server.Listener.Addr().String()), "--listen", address, "--dir", data)
	i.await(0, "serving", func(l logLine) bool { return strings.Contains(l.raw, "serving") })
	client := visitor(t, address, filepath.Join(data, "localca", "root.pem"))
	for _, name := range []string{"localhost", "anything.localhost"} {
		if _, body := page(t, client, "https://"+name+":"+portOf(t, address)+"/"); body != "development" {
			t.Errorf("%s answered %q", name, body)
		}
	}
}

// freePort returns an address of 127.0.0.1 that was free just now.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func TestATakenControlSocketDoesNotKeepItFromServing(t *testing.T) {
	dir := shortDir(t)
	path := writeConfig(t, dir, internalSite(greeter(t, "hello").URL)+"admin: {socket: taken}\n")
	writeFile(t, filepath.Join(dir, "taken"), "precious")
	i := start(t, nil, "run", "--config", path)
	line := i.awaitMessage("nobody can watch or steer this process; it serves all the same")
	if hint, _ := line.fields["hint"].(string); !strings.Contains(hint, "another path") {
		t.Errorf("hint %q", hint)
	}
	client := visitor(t, i.https(), filepath.Join(dir, "storage", "localca", "root.pem"))
	if status, body := page(t, client, "https://app.localhost/"); status != 200 || body != "hello" {
		t.Errorf("%d %q", status, body)
	}
	i.signal(syscall.SIGHUP)
	i.awaitMessage("configuration reloaded")
	if content, err := os.ReadFile(filepath.Join(dir, "taken")); err != nil || string(content) != "precious" {
		t.Errorf("the file that was there: %q, %v", content, err)
	}
}

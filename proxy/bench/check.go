package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/proxy/bench/load"
	"github.com/sallyport/sallyport/proxy/bench/origin"
)

// check makes sure that a proxy does what a workload asks of it, since one that
// does less is not faster. It returns what is wrong.
func check(ctx context.Context, w workload, plan load.Plan) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for i, name := range plan.Names {
		if i >= 3 {
			break // of 1,000 sites
		}
		if err := checkSite(ctx, w, plan, name); err != nil {
			return err
		}
	}
	if w.kind == webSockets {
		plan.Connections = 1
		session, err := load.WebSockets(ctx, plan) // with one echo
		if err != nil {
			return fmt.Errorf("WebSocket: %w", err)
		}
		session.Close()
	}
	return nil
}

// checkSite checks one site: its header fields and, if the workload has one,
// its body.
func checkSite(ctx context.Context, w workload, plan load.Plan, name string) error {
	var protocol http.Protocols
	protocol.SetHTTP1(w.kind != http2Requests)
	protocol.SetHTTP2(w.kind == http2Requests)
	transport := &http.Transport{
		Protocols:          &protocol,
		DisableCompression: true,
		TLSClientConfig:    &tls.Config{RootCAs: plan.Roots, MinVersion: tls.VersionTLS13},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, plan.Address)
		},
	}
	defer transport.CloseIdleConnections()
	fetch := func(method, path string, body []byte) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, method, "https://"+name+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		res, err := transport.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(res.Body)
		err = errors.Join(err, res.Body.Close())
		switch {
		case err != nil:
			return nil, err
		case res.StatusCode != 200:
			return nil, fmt.Errorf("%s %s: status %d", method, path, res.StatusCode)
		case (res.ProtoMajor == 2) != (w.kind == http2Requests):
			return nil, fmt.Errorf("%s %s: answered by %s", method, path, res.Proto)
		}
		return content, nil
	}
	seen, err := fetch("GET", origin.SeenPath, nil)
	if err != nil {
		return err
	}
	if err := checkSeen(seen, name); err != nil {
		return err
	}
	if w.kind == webSockets {
		return nil
	}
	body, err := fetch(plan.Method, plan.Path, plan.Body)
	if err != nil {
		return err
	}
	if len(plan.Body) > 0 && string(body) != strconv.Itoa(len(plan.Body))+"\n" {
		return fmt.Errorf("of an upload of %d bytes arrived %q", len(plan.Body), body)
	}
	if len(plan.Body) == 0 && !origin.IsBody(plan.Path, body) {
		return fmt.Errorf("%s: %d bytes, which are not what the server behind sends", plan.Path, len(body))
	}
	return nil
}

// checkSeen checks the head of a request as the server behind got it.
func checkSeen(seen []byte, name string) error {
	reader := textproto.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(seen), strings.NewReader("\r\n"))))
	line, err := reader.ReadLine()
	if err != nil {
		return err
	}
	header, err := reader.ReadMIMEHeader()
	if err != nil {
		return fmt.Errorf("the server behind got a broken head: %w", err)
	}
	if !strings.HasSuffix(line, " HTTP/1.1") || strings.EqualFold(header.Get("Connection"), "close") {
		return fmt.Errorf("the connection to the server behind is not kept: %q, Connection: %q", line, header.Get("Connection"))
	}
	for field, want := range map[string]string{
		"Host": name, "X-Forwarded-Host": name, "X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1",
	} {
		if got := header.Values(field); len(got) != 1 || got[0] != want {
			return fmt.Errorf("%s arrives as %q instead of %q", field, got, want)
		}
	}
	if header.Get("X-Request-Id") == "" {
		return errors.New("X-Request-Id does not arrive")
	}
	return nil
}

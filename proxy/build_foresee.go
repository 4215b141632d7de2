package proxy

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy/exchange"
	"github.com/sallyport/sallyport/proxy/explain"
	"github.com/sallyport/sallyport/proxy/fastcgi"
	"github.com/sallyport/sallyport/proxy/static"
	"github.com/sallyport/sallyport/proxy/upstream"
	"github.com/sallyport/sallyport/proxy/upstream/balance"
)

// This file is the part of `sallyport explain` about the action: which server,
// file or script answers. It asks the rooms that decide it.

// action describes what answers. x and r are as the action gets them.
func (e *explainer) action(b *routeBuilder, x *exchange.Exchange, r *http.Request) {
	place := &b.place
	a := &explain.Action{}
	e.answer.Action = a
	switch {
	case place.Proxy != "":
		a.Kind = "proxy"
		e.upstream(a, b, x, r)
	case place.Redirect != nil:
		a.Kind = "redirect"
		out := newNowhere()
		answer := func(http.Handler) http.Handler { return b.redirect() }
		if err := passes(answer, x, r, out, nil); err != nil {
			e.refuse(err)
			return
		}
		a.Text, a.Status = out.header.Get("Location"), out.status
		e.circle(x, r, a.Text)
	case place.Respond != nil:
		a.Kind, a.Status = "respond", place.Respond.Status
	case place.Files != nil:
		a.Kind, a.Text = "files", place.Files.Root
		e.files(a, b, x, r)
	case place.PHP != nil:
		a.Kind, a.Text = "php", place.PHP.Root+" by "+place.PHP.Server
		e.script(a, b, x, r)
	}
	a.Place = e.at(place.Path + "." + a.Kind)
}

// closed looks whether the site is closed.
func (e *explainer) closed(b *routeBuilder, x *exchange.Exchange, r *http.Request) {
	out := newNowhere()
	if err := passes(b.maintenance(), x, r, out, nil); err != nil || out.status != 0 {
		status := cmp.Or(out.status, http.StatusServiceUnavailable)
		e.verdict("maintenance", fmt.Sprintf("answers everybody with %d", status))
		e.answer.Refused = &explain.Refusal{Status: status, Label: "maintenance", Reason: "the site is closed: the file of `maintenance` is there", Hint: "remove " + b.place.Maintenance.File + " to open it"}
	}
}

// circle notes a redirect that leads back to where the client is.
func (e *explainer) circle(x *exchange.Exchange, r *http.Request, location string) {
	to, err := url.Parse(location)
	if err != nil {
		return
	}
	here := &url.URL{Scheme: x.Scheme(), Host: r.Host, Path: "/"}
	if from, err := url.ParseRequestURI(x.Target); err == nil {
		here = here.ResolveReference(from)
	}
	to = here.ResolveReference(to)
	plain := func(u *url.URL) string {
		host := strings.ToLower(u.Host)
		if name, port, err := net.SplitHostPort(host); err == nil && (u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80") {
			host = name
		}
		return u.Scheme + "://" + host + cmp.Or(u.EscapedPath(), "/") + "?" + u.RawQuery
	}
	if plain(to) == plain(here) {
		e.answer.Note("the redirect leads back to the address that was asked for: browsers give up after a few rounds", "redirect to another host, or give the route a narrower path")
	}
}

// upstream describes where a request goes.
func (e *explainer) upstream(a *explain.Action, b *routeBuilder, x *exchange.Exchange, r *http.Request) {
	place := &b.place
	entry := e.generation.cfg.Upstream(place.Proxy)
	a.Upstream, a.Text = entry.Name, place.Proxy
	for _, server := range entry.Servers {
		a.Servers = append(a.Servers, explain.Server{Address: server.URL, Weight: server.Weight, Backup: server.Backup})
	}
	pool := e.generation.pools[place.Proxy]
	if pool == nil || len(pool.Status()) != len(a.Servers) {
		return
	}
	if e.live {
		states(a.Servers, pool.Status())
	}
	foreseen := pool.Foresee(e.outgoing(b, x, r))
	open := 0
	for i, standing := range foreseen.Standings {
		if standing == upstream.Eligible {
			open++
		}
		if len(a.Servers) > 1 {
			a.Servers[i].Why = whyNotServer(standing)
		}
	}
	if open == 0 {
		e.answer.Note("no server of "+place.Proxy+" is up: the request gets 503", "the cause stands beside each server; sallyport status shows more")
		return
	}
	if len(a.Servers) > 1 {
		a.Balance = entry.Balance
		a.Rule = e.rule(&entry, foreseen, x)
	}
	if e.anybody(&entry, foreseen) {
		return
	}
	if foreseen.Server >= 0 {
		a.Server, a.Servers[foreseen.Server].Chosen = a.Servers[foreseen.Server].Address, len(a.Servers) > 1
	}
}

// anybody reports whether the client's address decides, and the question does
// not say whose it is.
func (e *explainer) anybody(entry *config.Upstream, foreseen upstream.Foresight) bool {
	kind, _ := entry.BalanceBy()
	return foreseen.By == upstream.ByKey && kind == config.BalanceIPHash && e.question.From == "" && e.answer.Via == ""
}

// rule says in words how the server is chosen.
func (e *explainer) rule(entry *config.Upstream, foreseen upstream.Foresight, x *exchange.Exchange) string {
	kind, name := entry.BalanceBy()
	switch foreseen.By {
	case upstream.Alone:
		return "no other server can take it"
	case upstream.Sticky:
		return "the cookie " + entry.Sticky.Cookie + " leads back to one of them"
	case upstream.ByKey:
		switch kind {
		case config.BalanceIPHash:
			if e.anybody(entry, foreseen) {
				return "each client's address belongs to one server: --from ADDRESS says which"
			}
			return "the address " + x.Client.String() + " belongs to one of them"
		case config.BalanceHeader:
			return "the value of header " + name + " belongs to one of them"
		}
		return "the value of cookie " + name + " belongs to one of them"
	}
	switch kind {
	case config.BalanceHeader:
		return "the request has no header " + name + ", so the less busy of two at random"
	case config.BalanceCookie:
		return "the request has no cookie " + name + ", so the less busy of two at random"
	case string(balance.RoundRobin):
		return "each in turn, by weight"
	case string(balance.LeastConn):
		return "the one with the fewest requests under way, by weight"
	}
	return "the less busy of two at random, by weight"
}

// whyNotServer says why none is chosen of those that stand like this.
func whyNotServer(standing upstream.Standing) string {
	switch standing {
	case upstream.Full:
		return "it has max_connections requests, and others have room"
	case upstream.Reserve:
		return "a backup, while another is up"
	case upstream.Ejected:
		return "requests to it failed: none for fail_timeout"
	case upstream.Unhealthy:
		return "it fails its health checks"
	case upstream.Draining:
		return "taken out by sallyport drain; --undo takes it back in"
	}
	return ""
}

// states fills in how the servers are.
func states(servers []explain.Server, now []upstream.MemberStatus) {
	for i, one := range now {
		server := &servers[i]
		server.State = "up"
		switch {
		case one.Draining:
			server.State = "draining"
		case !one.Up:
			server.State = "down"
		}
		if one.Cause != nil {
			server.Cause = one.Cause.Error()
		}
	}
}

// outgoing is the request as the upstream gets it.
func (e *explainer) outgoing(b *routeBuilder, x *exchange.Exchange, r *http.Request) *http.Request {
	last := r
	_ = passes(b.requestHeaders(), x, r, newNowhere(), func(changed *http.Request) { last = changed }) // it refuses nothing
	trip := &passage{Context: last.Context(), w: newNowhere(), r: last}
	out, _ := trip.outgoing(x, &e.proxy.headers)
	(&forward{proxy: e.proxy, host: b.place.Host}).adapt(out)
	return out
}

// reading is the request with which a file is looked at: what would send it
// sends its head alone.
func reading(r *http.Request) *http.Request {
	if r.Method != http.MethodGet {
		return r
	}
	head := *r
	head.Method = http.MethodHead
	return &head
}

// files describes the file that answers. The handler itself says with what
// status.
func (e *explainer) files(a *explain.Action, b *routeBuilder, x *exchange.Exchange, r *http.Request) {
	handler := b.files()
	if handler == nil {
		return
	}
	options := b.filesOptions()
	files, err := static.New(options)
	if err != nil {
		return
	}
	defer files.Close()
	a.File = fileOf(options.Root, files.Trace(r))
	e.serves(a, x, r, handler)
}

// serves has an action answer nobody, and takes down with what.
func (e *explainer) serves(a *explain.Action, x *exchange.Exchange, r *http.Request, action http.Handler) {
	out := newNowhere()
	answer := func(http.Handler) http.Handler { return action }
	if err := passes(answer, x, reading(r), out, nil); err != nil {
		if e.answer.Refused == nil {
			e.refuse(err)
		}
		return
	}
	a.Status = cmp.Or(out.status, http.StatusOK)
	a.File.Type = out.header.Get("Content-Type")
	if to := out.header.Get("Location"); to != "" {
		e.answer.Note("the path is that of a folder and has no slash at its end: the client is sent to "+to, "")
	}
}

// fileOf puts a trace in the words of an answer.
func fileOf(root string, t static.Trace) *explain.File {
	whole := func(name string) string {
		path := filepath.Join(root, filepath.FromSlash(name))
		if strings.HasSuffix(name, "/") {
			path += string(filepath.Separator)
		}
		return path
	}
	f := &explain.File{Coding: t.Coding, Listing: strings.HasSuffix(t.Name, "/")}
	if t.Name != "" {
		f.Path = whole(t.Name)
	}
	if t.Coding != "" {
		f.Variant = whole(t.File)
	}
	for _, miss := range t.Misses {
		f.Tried = append(f.Tried, explain.Tried{Path: whole(miss.Name), Why: miss.Why})
	}
	return f
}

// script describes the script that is run, or the file beside it that is sent.
func (e *explainer) script(a *explain.Action, b *routeBuilder, x *exchange.Exchange, r *http.Request) {
	options := b.scriptOptions()
	files, err := static.New(options)
	if err != nil {
		return
	}
	defer files.Close()
	ran := ""
	action, err := fastcgi.NewPHP(fastcgi.PHPOptions{Files: files, Root: options.Root}, http.HandlerFunc(func(_ http.ResponseWriter, out *http.Request) {
		ran = fastcgi.ScriptName(out)
	}))
	if err != nil {
		return
	}
	a.File = fileOf(options.Root, files.Trace(r))
	e.serves(a, x, r, action)
	if ran == "" {
		return
	}
	script := &explain.File{Path: filepath.Join(options.Root, filepath.FromSlash(ran)), Script: true}
	if script.Path == a.File.Path { // else the path itself names the script, and nothing was looked for
		script.Tried = a.File.Tried
	}
	a.File, a.Status = script, 0 // the script says
}

package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/proxy/bench/load"
	"github.com/sallyport/sallyport/proxy/bench/origin"
)

// kind says how a workload is driven.
type kind int

const (
	http1Requests kind = iota
	http2Requests
	newConnections
	webSockets
	idleConnections
)

// workload is one case of the bench: the same for every proxy.
type workload struct {
	name, title string
	kind        kind
	path        string
	upload      int // bytes of the request's body; 0 is a GET
	connections int
	streams     int // as in load.Plan; of idle connections: 0 is HTTP/1.1
	resume      bool
	sites       int  // number of sites in the configuration; 0 is one
	builtin     bool // only the generator of our own can do it
}

// workloads are the cases, in the order in which they run. Connections are few
// enough for two processors and many enough to keep two workers busy.
var workloads = []workload{
	{name: "h1-13b", title: "h1, 13 B", path: "/13b", connections: 32},
	{name: "h2-13b", title: "h2, 13 B", kind: http2Requests, path: "/13b", connections: 8, streams: 8},
	{name: "h1-1k", title: "h1, 1 KB", path: "/1k", connections: 32},
	{name: "h2-1k", title: "h2, 1 KB", kind: http2Requests, path: "/1k", connections: 8, streams: 8},
	{name: "h1-100k", title: "h1, 100 KB", path: "/100k", connections: 32},
	{name: "h2-100k", title: "h2, 100 KB", kind: http2Requests, path: "/100k", connections: 8, streams: 8},
	{name: "h1-10m", title: "h1, 10 MB", path: "/10m", connections: 8},
	{name: "h2-10m", title: "h2, 10 MB", kind: http2Requests, path: "/10m", connections: 4, streams: 2},
	{name: "h1-post", title: "h1, POST 100 KB", path: origin.UploadPath, upload: 100 << 10, connections: 32},
	{name: "h2-post", title: "h2, POST 100 KB", kind: http2Requests, path: origin.UploadPath, upload: 100 << 10, connections: 8, streams: 8},
	{name: "tls-full", title: "new TLS connection, full", kind: newConnections, path: "/13b", connections: 16, builtin: true},
	{name: "tls-resumed", title: "new TLS connection, resumed", kind: newConnections, path: "/13b", connections: 16, resume: true, builtin: true},
	{name: "websocket", title: "echo on 1,000 WebSockets", kind: webSockets, path: origin.WebSocketPath, connections: 1000, streams: 64, builtin: true},
	{name: "sites", title: "h1, 13 B, 1,000 sites", path: "/13b", connections: 200, sites: 1000, builtin: true},
	{name: "idle", title: "4,000 idle TLS connections", kind: idleConnections, path: "/13b", connections: 4000, builtin: true},
	{name: "idle-h2", title: "2,000 idle HTTP/2 connections", kind: idleConnections, path: "/13b", connections: 2000, streams: 1, builtin: true},
}

// selectWorkloads returns the workloads named in a list with commas; an empty
// list is all.
func selectWorkloads(list string) ([]workload, error) {
	if list == "" {
		return workloads, nil
	}
	var selected []workload
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("no case is called %q\nhint: --list prints them", name)
		}
		selected = append(selected, workloads[i])
	}
	return selected, nil
}

// names returns the host names of the workload's sites. One site is called
// localhost because wrk and h2load look names up.
func (w workload) names() []string {
	if w.sites == 0 {
		return []string{"localhost"}
	}
	names := make([]string, w.sites)
	for i := range names {
		names[i] = fmt.Sprintf("site%04d.bench.test", i)
	}
	return names
}

// plan is the part of the load's plan that the workload determines.
func (w workload) plan() load.Plan {
	plan := load.Plan{Names: w.spread(), Method: "GET", Path: w.path, Connections: w.connections, Streams: w.streams, Resume: w.resume}
	if size, ok := origin.Size(w.path); ok {
		plan.Size = int64(size)
	}
	if w.upload > 0 {
		plan.Method, plan.Body = "POST", bytes.Repeat([]byte("x"), w.upload)
		plan.Size = int64(len(fmt.Sprintln(w.upload)))
	}
	return plan
}

// spread returns the names that connections ask for: all sites evenly, where
// there are more sites than connections.
func (w workload) spread() []string {
	names := w.names()
	step := max(1, len(names)/w.connections)
	var spread []string
	for i := 0; i < len(names); i += step {
		spread = append(spread, names[i])
	}
	return spread
}

// unit is what one request of the workload is called.
func (w workload) unit() string {
	switch w.kind {
	case newConnections:
		return "connection"
	case webSockets:
		return "echo"
	default:
		return "request"
	}
}

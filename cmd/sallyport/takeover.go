package main

import (
	"io"
	"os"
	"syscall"

	"github.com/sallyport/sallyport/proxy/listen"
)

// This file is the side of an upgrade that takes over; upgrade.go is the other.
//
// The new process gets copies of all sockets, so that there is no moment at which
// nobody listens, and serves as soon as it is ready. Two things only one process
// may do at a time. Certificates the new one orders when the old one says that it
// has stopped to. UDP sockets the old one goes on reading until it has no
// connection over HTTP/3 any more, and passes on what is not for these; see package
// relay.

// passedOn says which descriptors are what.
type passedOn struct {
	Sockets []passedSocket `json:"sockets"`
	Admin   []int          `json:"admin"`
	Ready   int            `json:"ready"` // to write to: a word, see predecessor.report
	Done    int            `json:"done"`  // to read from: what the old one has stopped to do
}

// passedSocket is one of the listeners.
type passedSocket struct {
	FD      int    `json:"fd"`
	Name    string `json:"name"`
	Address string `json:"address"`
	Relay   int    `json:"relay,omitempty"` // of UDP: to read packets from
}

// stoppedOrders is what the old process says when it orders no certificates any
// more.
const stoppedOrders = 'c'

// predecessor is the process that this one takes over from.
type predecessor struct {
	sockets []listen.Passed
	admin   []*os.File
	ready   *os.File
	done    *os.File

	ordersFree chan struct{} // closed when we may order certificates
}

// receiveTakeover returns the process that this one takes over from, or nil.
func receiveTakeover() (*predecessor, error) {
	what, ok, err := readTakeover()
	if !ok || err != nil {
		return nil, err
	}
	take := func(fd int, name string) *os.File {
		syscall.CloseOnExec(fd)
		_ = syscall.SetNonblock(fd, true) // else closing would not end a read
		return os.NewFile(uintptr(fd), name)
	}
	p := &predecessor{
		ready: take(what.Ready, "readiness"), done: take(what.Done, "predecessor"),
		ordersFree: make(chan struct{}),
	}
	for _, one := range what.Sockets {
		passed := listen.Passed{Name: one.Name, File: take(one.FD, one.Name), Address: one.Address}
		if one.Relay != 0 {
			passed.Relay = take(one.Relay, "relay")
		}
		p.sockets = append(p.sockets, passed)
	}
	for _, fd := range what.Admin {
		p.admin = append(p.admin, take(fd, "admin"))
	}
	return p, nil
}

// wait hears that the old process orders no certificates any more: it says
// stoppedOrders, or has ended. It is a goroutine of the edge's.
func (p *predecessor) wait() {
	defer p.done.Close()
	_, _ = p.done.Read(make([]byte, 1))
	close(p.ordersFree)
}

// report tells the old process how it went: that this one serves, or why not.
func (p *predecessor) report(failure error) {
	if p == nil || p.ready == nil {
		return
	}
	word := readyWord
	if failure != nil {
		word = failure.Error()
		if hint := hintOf(failure); hint != "" {
			word += "\n" + hint
		}
	}
	_, _ = io.WriteString(p.ready, word) // the old one may have given up
	_ = p.ready.Close()
	p.ready = nil
}

const readyWord = "ready"

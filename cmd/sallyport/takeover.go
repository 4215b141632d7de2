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
// may do at a time: read a UDP socket, and order certificates. Those the new one
// begins when the old one says that it has stopped.

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
}

// What the old process says that it has stopped to do.
const (
	stoppedOrders = 'c'
	stoppedUDP    = 'u'
)

// predecessor is the process that this one takes over from.
type predecessor struct {
	sockets []listen.Passed
	admin   []*os.File
	ready   *os.File
	done    *os.File

	ordersFree chan struct{} // closed when we may order certificates
	udpFree    chan struct{} // closed when we may read UDP sockets
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
		ordersFree: make(chan struct{}), udpFree: make(chan struct{}),
	}
	for _, one := range what.Sockets {
		p.sockets = append(p.sockets, listen.Passed{Name: one.Name, File: take(one.FD, one.Name), Address: one.Address})
	}
	for _, fd := range what.Admin {
		p.admin = append(p.admin, take(fd, "admin"))
	}
	return p, nil
}

// wait hears what the old process has stopped to do, until it has done all or
// has ended. It is a goroutine of the edge's.
func (p *predecessor) wait() {
	defer p.done.Close()
	orders, udp := p.ordersFree, p.udpFree
	word := make([]byte, 1)
	for {
		_, err := io.ReadFull(p.done, word)
		if orders != nil && (err != nil || word[0] == stoppedOrders) {
			close(orders)
			orders = nil
		}
		if udp != nil && (err != nil || word[0] == stoppedUDP) {
			close(udp)
			udp = nil
		}
		if err != nil {
			return
		}
	}
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

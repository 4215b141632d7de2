package standin

import (
	"fmt"
	"net"
	"sync"

	"github.com/miekg/dns"
)

// Server answers every question for any name alike, over UDP and TCP on one
// port.
type Server struct {
	address string
	servers [2]*dns.Server
	running sync.WaitGroup

	mu      sync.Mutex
	records []string
	code    int
	cut     bool
	asked   int
}

// Start begins to answer with records, each as in a zone file but without the
// name: "30 IN A 127.0.0.1".
func Start(records ...string) (*Server, error) {
	packets, stream, err := open()
	for attempt := 1; err != nil && attempt < 20; attempt++ {
		packets, stream, err = open()
	}
	if err != nil {
		return nil, fmt.Errorf("opening the stand-in for DNS: %w", err)
	}
	s := &Server{address: packets.LocalAddr().String(), records: records}
	s.servers = [2]*dns.Server{{PacketConn: packets, Handler: s}, {Listener: stream, Handler: s}}
	for _, server := range s.servers {
		ready := make(chan struct{})
		server.NotifyStartedFunc = func() { close(ready) }
		s.running.Go(func() { _ = server.ActivateAndServe() })
		<-ready
	}
	return s, nil
}

// open takes a port for both protocols. The one that is free for UDP may be taken
// for TCP, by a connection of another test for instance.
func open() (net.PacketConn, net.Listener, error) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	stream, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		_ = packets.Close()
		return nil, nil, err
	}
	return packets, stream, nil
}

// Address returns where the server is asked: host:port.
func (s *Server) Address() string { return s.address }

// Set changes the answer.
func (s *Server) Set(records ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.records = dns.RcodeSuccess, records
}

// Deny answers with an error: missing says that the name does not exist, else
// that the server fails.
func (s *Server) Deny(missing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records, s.code = nil, dns.RcodeServerFailure
	if missing {
		s.code = dns.RcodeNameError
	}
}

// Truncate has answers over UDP say that TCP is needed.
func (s *Server) Truncate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
}

// Asked returns how often an IPv4 address was asked for.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// ServeDNS implements [dns.Handler].
func (s *Server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := new(dns.Msg)
	answer.SetRcode(q, s.code)
	question := q.Question[0]
	if question.Qtype == dns.TypeA {
		s.asked++
	}
	_, stream := w.RemoteAddr().(*net.TCPAddr)
	answer.Truncated = s.cut && !stream
	for _, text := range s.records {
		record, err := dns.NewRR(question.Name + " " + text)
		if err == nil && record.Header().Rrtype == question.Qtype && !answer.Truncated {
			answer.Answer = append(answer.Answer, record)
		}
	}
	_ = w.WriteMsg(answer) // a resolver that has gone asks again
}

// Close ends the server and waits for it.
func (s *Server) Close() {
	for _, server := range s.servers {
		_ = server.Shutdown()
	}
	s.running.Wait()
}

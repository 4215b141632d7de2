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
	stream, packets, err := listen()
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

// Address returns where the server is asked: host:port.
func (s *Server) Address() string { return s.address }

// listen opens a port that is free for both protocols.
func listen() (stream net.Listener, packets net.PacketConn, err error) {
	for range 100 {
		stream, err = net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		if packets, err = net.ListenPacket("udp", stream.Addr().String()); err == nil {
			return stream, packets, nil
		}
		_ = stream.Close()
	}
	return nil, nil, err
}

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

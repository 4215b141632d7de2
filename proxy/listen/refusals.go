package listen

import (
	"sync/atomic"

	"github.com/sallyport/sallyport/proxy/listen/h2"
)

// Refusal says how often clients were refused something before any handler
// had seen it, or cut: what neither the access log nor the metrics of requests
// can know of. The same is logged at debug level, each kind at most ten times a
// second.
type Refusal struct {
	// Protocol is "h1", "h2", "h3", or "tcp" for whole connections.
	Protocol string

	// Reason is one of a closed set; see the constants of kind.
	Reason string

	// OfConnections is true if a limit kept a whole connection out.
	OfConnections bool

	Count uint64 // since the listeners were opened
}

// kind is a protocol and a reason.
type kind int

const (
	h1Malformed kind = iota
	h1TooLarge
	h1Timeout
	h2Malformed
	h2TooLarge
	h2Streams
	h2Flood
	h2Protocol
	h3Malformed
	h3TooLarge
	h3Timeout
	h3Streams
	h3Flood
	h3Protocol
	h3Full
	tcpAddress
	tcpMemory
	tcpSlow
	kinds
)

var kindNames = [kinds]Refusal{
	h1Malformed: {Protocol: "h1", Reason: "malformed"},                         // 400, 417, 501, 505
	h1TooLarge:  {Protocol: "h1", Reason: "too_large"},                         // 414, 431
	h1Timeout:   {Protocol: "h1", Reason: "timeout"},                           // 408
	h2Malformed: {Protocol: "h2", Reason: "malformed"},                         // RST_STREAM or 400
	h2TooLarge:  {Protocol: "h2", Reason: "too_large"},                         // 414, 431
	h2Streams:   {Protocol: "h2", Reason: "too_many_streams"},                  // RST_STREAM REFUSED_STREAM
	h2Flood:     {Protocol: "h2", Reason: "flood"},                             // GOAWAY ENHANCE_YOUR_CALM
	h2Protocol:  {Protocol: "h2", Reason: "protocol_error"},                    // GOAWAY with any other error
	h3Malformed: {Protocol: "h3", Reason: "malformed"},                         // a reset, or 400
	h3TooLarge:  {Protocol: "h3", Reason: "too_large"},                         // 431
	h3Timeout:   {Protocol: "h3", Reason: "timeout"},                           // H3_REQUEST_INCOMPLETE
	h3Streams:   {Protocol: "h3", Reason: "too_many_streams"},                  // H3_REQUEST_REJECTED
	h3Flood:     {Protocol: "h3", Reason: "flood"},                             // H3_EXCESSIVE_LOAD
	h3Protocol:  {Protocol: "h3", Reason: "protocol_error"},                    // a connection closed with any other error
	h3Full:      {Protocol: "h3", Reason: "full", OfConnections: true},         // CONNECTION_REFUSED: a cap, or memory is short
	tcpAddress:  {Protocol: "tcp", Reason: "per_address", OfConnections: true}, // limits.connections_per_address
	tcpMemory:   {Protocol: "tcp", Reason: "memory", OfConnections: true},      // memory is short
	tcpSlow:     {Protocol: "tcp", Reason: "slow"},                             // reads slower than limits.min_rate
}

// refusals counts them.
type refusals [kinds]atomic.Uint64

func (r *refusals) add(k kind) { r[k].Add(1) }

func (r *refusals) list() []Refusal {
	list := kindNames
	for k := range list {
		list[k].Count = r[k].Load()
	}
	return list[:]
}

// ofStatus is the kind of what HTTP/1.1 answered.
func ofStatus(status int) kind {
	switch status {
	case 408:
		return h1Timeout
	case 414, 431:
		return h1TooLarge
	}
	return h1Malformed
}

// ofHTTP2 is the kind of what the HTTP/2 engine tells.
func ofHTTP2(r h2.Refusal) kind {
	switch r {
	case h2.TooLarge:
		return h2TooLarge
	case h2.TooManyStreams:
		return h2Streams
	case h2.Flood:
		return h2Flood
	case h2.ProtocolError:
		return h2Protocol
	}
	return h2Malformed
}

package h2

// Refusal is why a request never got to the handler, or was taken from it, or
// why a connection ended.
type Refusal int

// The refusals.
const (
	Malformed      Refusal = iota // a stream that broke the rules: RST_STREAM, or 400
	TooLarge                      // a head beyond the limits: 414, 431
	TooManyStreams                // RST_STREAM REFUSED_STREAM
	Flood                         // GOAWAY ENHANCE_YOUR_CALM
	ProtocolError                 // GOAWAY with any other error
)

// refusal is what a connection error counts as.
func (e *connError) refusal() Refusal {
	if e.code == codeCalm {
		return Flood
	}
	return ProtocolError
}

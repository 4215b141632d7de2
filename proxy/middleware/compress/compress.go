package compress

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Level is how hard to try.
type Level string

// The levels. Each step costs about twice the processor time of the one before.
const (
	Fast    Level = "fast"
	Default Level = "default"
	Best    Level = "best"
)

// Defaults of [Options].
const (
	// DefaultEncodings are the encodings, the preferred one first.
	DefaultEncodings = "zstd gzip"

	// DefaultTypes are the media types that shrink.
	DefaultTypes = "text/* *+json *+xml *+text application/json application/javascript application/xml application/wasm " +
		"application/graphql application/x-javascript application/x-ndjson application/rtf application/toml application/yaml " +
		"application/vnd.ms-fontobject font/ttf font/otf font/collection image/bmp image/x-icon image/vnd.microsoft.icon"

	// DefaultMinSize is the least length that is worth the work.
	DefaultMinSize = 512

	// DefaultEncoders is how many responses are compressed at a time.
	DefaultEncoders = 64
)

// Options shape a [Compressor]. They are comparable: equal options may share
// one.
type Options struct {
	// Encodings are zstd and gzip, or one of them, the preferred one first,
	// separated by blanks. Empty: [DefaultEncodings].
	Encodings string

	// Types are the media types to compress, separated by blanks: one in full,
	// "text/*", or "*+json". Empty: [DefaultTypes]. Streams of events and
	// anything of gRPC are left alone whatever stands here.
	Types string

	// MinSize is the least Content-Length to compress, in bytes; responses of
	// unknown length always count as long. Zero is [DefaultMinSize], negative
	// no limit.
	MinSize int64

	// Level is how hard to try. Empty: [Default].
	Level Level

	// Encoders is how many responses may be compressed at a time, each of which
	// takes up to 2 MiB of memory (level best: 5 MiB) until it has been
	// written; more go out as they are. Zero is [DefaultEncoders]; negative is an error.
	Encoders int
}

// Compressor compresses responses.
type Compressor struct {
	encodings []*encoding // the preferred one first
	types     types
	minSize   int64
	most      int64
	busy      atomic.Int64
}

// encoding is one content coding and its idle encoders.
type encoding struct {
	name    string
	value   []string // for Content-Encoding
	idle    sync.Pool
	compose func() (encoder, error)
}

// encoder is what both libraries have in common.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// New returns a compressor.
func New(o Options) (*Compressor, error) {
	if o.Encodings == "" {
		o.Encodings = DefaultEncodings
	}
	if o.Types == "" {
		o.Types = DefaultTypes
	}
	if o.MinSize == 0 {
		o.MinSize = DefaultMinSize
	}
	if o.Encoders == 0 {
		o.Encoders = DefaultEncoders
	}
	if o.Level == "" {
		o.Level = Default
	}
	if o.Encoders < 0 {
		return nil, errors.New("the number of encoders cannot be negative")
	}
	c := &Compressor{minSize: o.MinSize, most: int64(o.Encoders)}
	for name := range strings.FieldsSeq(o.Encodings) {
		e := &encoding{name: name, value: []string{name}}
		var err error
		if e.compose, err = composer(name, o.Level); err != nil {
			return nil, err
		}
		c.encodings = append(c.encodings, e)
	}
	var err error
	c.types, err = parseTypes(o.Types)
	return c, err
}

// window is how far back zstd looks for what repeats, and half of the memory
// that it takes. Browsers take up to 8 MiB (RFC 9659); more than this gains
// little on pages and scripts.
const window = 256 << 10

// composer returns what makes encoders of a kind.
func composer(name string, level Level) (func() (encoder, error), error) {
	speed := map[Level]struct {
		gzip int
		zstd zstd.EncoderLevel
	}{
		Fast:    {gzip.BestSpeed, zstd.SpeedFastest},
		Default: {5, zstd.SpeedDefault},
		Best:    {gzip.BestCompression, zstd.SpeedBetterCompression},
	}
	s, ok := speed[level]
	if !ok {
		return nil, fmt.Errorf("there is no level %q", level)
	}
	switch name {
	case "gzip":
		return func() (encoder, error) { return gzip.NewWriterLevel(io.Discard, s.gzip) }, nil
	case "zstd":
		return func() (encoder, error) {
			return zstd.NewWriter(io.Discard, zstd.WithEncoderLevel(s.zstd), zstd.WithWindowSize(window),
				zstd.WithEncoderConcurrency(1), // no goroutines
				zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
		}, nil
	}
	return nil, fmt.Errorf("there is no encoding %q", name)
}

// acquire returns an encoder that writes to w, or nil if all are at work.
func (c *Compressor) acquire(e *encoding, w io.Writer) encoder {
	if c.busy.Add(1) > c.most {
		c.busy.Add(-1)
		return nil
	}
	enc, ok := e.idle.Get().(encoder)
	if !ok {
		var err error
		if enc, err = e.compose(); err != nil {
			c.busy.Add(-1) // cannot be: the levels are ours
			return nil
		}
	}
	enc.Reset(w)
	return enc
}

// release takes an encoder back, whatever state it is in.
func (c *Compressor) release(e *encoding, enc encoder) {
	enc.Reset(io.Discard)
	e.idle.Put(enc)
	c.busy.Add(-1)
}

// Wrap compresses what next answers, unless
//
//   - the client does not accept it, or asked for a range,
//   - it is encoded already, is a part (206, Content-Range), has no content
//     (1xx, 204, 304), or says no-transform, itself or in the request,
//   - its type is not among those that shrink, or it is a stream of events,
//   - it is shorter than the least size, or bears a digest of its content.
//
// The answers that may be compressed say so by Vary, also to clients that get
// them as they are. Content-Length and Accept-Ranges go, a strong ETag becomes
// weak (RFC 9110 section 8.8.3), and whatever next flushes arrives at once. The
// answer to a HEAD has the fields that a GET's would have.
func (c *Compressor) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &writer{ResponseWriter: rw, compressor: c, request: r}
		defer w.release() // also when next panics: what was not finished must not look as if it were
		next.ServeHTTP(w, r)
		w.finish()
	})
}

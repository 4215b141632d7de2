package limit

import (
	"io"
	"net/http"

	"github.com/sallyport/sallyport/proxy/exchange"
)

var errBody = &exchange.Refusal{
	Status: http.StatusRequestEntityTooLarge, Label: "body_too_large",
	Reason: "the request's body is larger than allowed", Hint: "max_body says how large it may be",
}

// Body refuses requests whose body has more than so many bytes, with 413 (RFC
// 9110 section 15.5.14). One that announces too much is refused before any of
// it is read, so that a client which waits for 100 Continue never sends it; one
// that announces nothing is read up to the limit, and whoever reads it gets an
// [http.MaxBytesError]. Zero allows no body at all; negative is no limit.
func Body(most int64) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if most < 0 {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength > most {
				exchange.Refuse(w, r, errBody)
				return
			}
			if r.ContentLength < 0 && r.Body != nil { // else the servers keep it to its length
				limited := new(http.Request)
				*limited = *r
				limited.Body = &boundedBody{ReadCloser: r.Body, left: most, most: most}
				r = limited
			}
			next.ServeHTTP(w, r)
		})
	}
}

// boundedBody fails when there is more to read than allowed. It does not tell
// the server about it, as [http.MaxBytesReader] would: what becomes of the
// connection is decided where the failure is answered.
type boundedBody struct {
	io.ReadCloser
	left, most int64
	failed     bool
}

// Read implements [io.Reader].
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.failed {
		return 0, &http.MaxBytesError{Limit: b.most}
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more, to see whether there is more
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) <= b.left {
		b.left -= int64(n)
		return n, err
	}
	n = int(b.left)
	b.left, b.failed = 0, true
	return n, &http.MaxBytesError{Limit: b.most}
}

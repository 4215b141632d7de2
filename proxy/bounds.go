package proxy

import (
	"net/http"

	"github.com/sallyport/sallyport/proxy/exchange"
)

// bounds are what the head of a request may have. The engines bound its bytes,
// and how long it may take; these hold for all of them alike.
type bounds struct {
	fields int // field lines, those that we removed not counted; 0 is no limit
	target int // bytes of the request target; 0 is no limit
}

// Refusals of heads.
var (
	errFields = &exchange.Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Label: "too_many_fields", Reason: "the request has more fields than limits.request_header_count"}
	errLong   = &exchange.Refusal{Status: http.StatusRequestURITooLong, Label: "target_too_long", Reason: "the request target is longer than limits.uri_length"}
)

func (b bounds) check(r *http.Request) error {
	if b.target > 0 && len(r.RequestURI) > b.target {
		return errLong
	}
	if b.fields <= 0 {
		return nil
	}
	lines := 0
	for _, values := range r.Header {
		lines += len(values)
	}
	if lines > b.fields {
		return errFields
	}
	return nil
}

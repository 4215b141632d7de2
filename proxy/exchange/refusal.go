package exchange

import (
	"errors"
	"net/http"
)

// Refusal is an error that knows how it is to be answered. Make it once, as a
// value of the package that refuses, so that a flood of refusals costs nothing.
type Refusal struct {
	// Status is what is answered: 4xx or 5xx.
	Status int

	// Label names the cause for log and metrics: snake_case, from a closed set.
	Label string

	// Reason is the cause in words, for the log.
	Reason string

	// Quiet says that it is as it should be, whatever the status: nothing for
	// the log at its usual level.
	Quiet bool

	// Hint is what the operator can do about it, or "".
	Hint string
}

func (r *Refusal) Error() string { return r.Reason }

// Refuse answers a request with what err says, through the proxy: classified,
// logged, with the site's own page. An err without a *Refusal in it is a
// failure on our side. Nothing may have been sent yet.
func Refuse(w http.ResponseWriter, r *http.Request, err error) {
	x := Of(r)
	if x.Refuser != nil {
		x.Refuser.Refuse(w, r, err)
		return
	}
	status := http.StatusInternalServerError
	if own, ok := errors.AsType[*Refusal](err); ok {
		status = own.Status
		x.Failure = own.Label
	}
	http.Error(w, http.StatusText(status), status)
}

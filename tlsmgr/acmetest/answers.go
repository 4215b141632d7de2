package acmetest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// envelope is what every answer of the API is wrapped in.
type envelope struct {
	Success    bool        `json:"success"`
	Errors     []apiError  `json:"errors"`
	Messages   []message   `json:"messages"`
	Result     any         `json:"result"`
	ResultInfo *resultInfo `json:"result_info,omitempty"`
}

type apiError struct {
	Code    int        `json:"code"`
	Message string     `json:"message"`
	Chain   []apiError `json:"error_chain,omitempty"`
}

type message struct {
	Code    int     `json:"code"`
	Message string  `json:"message"`
	Type    *string `json:"type"`
}

type resultInfo struct {
	Page       int `json:"page"`
	PerPage    int `json:"per_page"`
	Count      int `json:"count"`
	TotalCount int `json:"total_count"`
	TotalPages int `json:"total_pages"`
}

// answer is a status and what goes with it.
type answer struct {
	status int
	envelope
}

func (a answer) send(w http.ResponseWriter) {
	if a.Errors == nil {
		a.Errors = []apiError{}
	}
	if a.Messages == nil {
		a.Messages = []message{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.envelope) // fails only when the client has gone
}

func result(v any) answer {
	return answer{status: http.StatusOK, envelope: envelope{Success: true, Result: v}}
}

func refusal(status, code int, text string, chain ...apiError) answer {
	return answer{status: status, envelope: envelope{Errors: []apiError{{Code: code, Message: text, Chain: chain}}}}
}

// The answers of the real API, as its users have met and reported them.

func invalidHeaders(chain ...apiError) answer {
	return refusal(http.StatusBadRequest, 6003, "Invalid request headers", chain...)
}

func missingHeaders() answer {
	return refusal(http.StatusBadRequest, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")
}

// invalidToken is what only the verify endpoints say; all others say invalidAccess.
func invalidToken() answer { return refusal(http.StatusUnauthorized, 1000, "Invalid API Token") }

func invalidAccess() answer { return refusal(http.StatusForbidden, 9109, "Invalid access token") }

func wrongLocation(host string) answer {
	return refusal(http.StatusForbidden, 9109, "Cannot use the access token from location: "+host)
}

func unauthorized() answer {
	return refusal(http.StatusForbidden, 9109, "Unauthorized to access requested resource")
}

func authenticationError() answer {
	return refusal(http.StatusForbidden, 10000, "Authentication error")
}

func noSuchRecord() answer { return refusal(http.StatusNotFound, 81044, "Record does not exist.") }

func invalidRecord(code int, text string) answer {
	return refusal(http.StatusBadRequest, 1004, "DNS Validation Error", apiError{Code: code, Message: text})
}

func notRouted(path string) answer {
	return answer{status: http.StatusNotFound, envelope: envelope{Errors: []apiError{
		{Code: 7003, Message: "Could not route to " + path + ", perhaps your object identifier is invalid?"},
		{Code: 7000, Message: "No route for that URI"},
	}}}
}

// refuseAPI answers with an injected failure.
func refuseAPI(w http.ResponseWriter, f Failure) {
	code, text := f.Code, f.Message
	if code == 0 {
		code = 10001
		if f.Status == http.StatusTooManyRequests {
			code = 971
		}
	}
	if text == "" {
		text = strings.ToLower(http.StatusText(f.Status))
		if code == 971 {
			text = "Please wait and consider throttling your request speed"
		}
	}
	refusal(f.Status, code, text).send(w)
}

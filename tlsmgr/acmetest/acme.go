package acmetest

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/letsencrypt/pebble/v2/acme"
	"github.com/letsencrypt/pebble/v2/core"
)

const (
	acmeHost = "acme." + domain

	// Pebble's paths; they differ from Let's Encrypt's on purpose, so that clients read the directory.
	directoryPath   = "/dir"
	newOrderPath    = "/order-plz"
	finalizePath    = "/finalize-order/"
	authzPath       = "/authZ/"
	renewalInfoPath = "/draft-ietf-acme-ari-03/renewalInfo/"

	// settleTimeout bounds the wait for an issuance, which takes a millisecond on an idle machine.
	settleTimeout = 15 * time.Second

	// shortLived is the validity up to which we set the renewal window ourselves. Pebble's is two days wide and, cut to
	// the certificate's validity, would tell clients to renew what they have just got.
	shortLived = 7 * 24 * time.Hour
)

// Order is one newOrder request (RFC 8555 §7.4).
type Order struct {
	Names    []string // identifiers as the client sent them
	Replaces string   // ARI certificate identifier of the predecessor (RFC 9773 §5), or empty
	Status   int      // of the HTTP answer; 201 is success
}

// ACME is the certificate authority's server: Pebble behind a recorder.
type ACME struct {
	recorder
	orders journal[Order]
	issued journal[*x509.Certificate]

	validity    time.Duration
	renewalPoll time.Duration

	// mu lets one request at a time into Pebble. Its handlers lock store, orders and authorizations in different orders
	// and deadlock under parallel orders: FindValidAuthorization locks the store and then each authorization, while the
	// authorization handler locks one of them and then the store. See also settle and validating.
	mu      sync.Mutex
	closed  bool
	pebble  *pebble
	handler http.Handler
}

func newACME(opts Options, resolver string, logger *log.Logger) (*ACME, error) {
	p, err := newPebble(logger, opts.Validity, resolver)
	if err != nil {
		return nil, fmt.Errorf("acmetest: construct pebble: %w", err)
	}
	a := &ACME{pebble: p, handler: p.Handler(), validity: opts.Validity, renewalPoll: opts.RenewalPoll}
	a.recorder.refuse = refuseACME
	a.recorder.next = a.serve
	return a, nil
}

// close lets no further request into Pebble and ends its queue.
func (a *ACME) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	return a.pebble.stop()
}

// Orders returns the newOrder requests so far, those included that were refused.
func (a *ACME) Orders() []Order { return a.orders.all() }

// WaitOrder waits until some newOrder request, past or future, satisfies match.
func (a *ACME) WaitOrder(ctx context.Context, match func(Order) bool) error {
	return a.orders.wait(ctx, match)
}

// Issued returns the certificates issued so far, oldest first.
func (a *ACME) Issued() []*x509.Certificate { return a.issued.all() }

// WaitIssued waits until some issued certificate, past or future, satisfies match.
func (a *ACME) WaitIssued(ctx context.Context, match func(*x509.Certificate) bool) error {
	return a.issued.wait(ctx, match)
}

// SetRenewalWindow sets when the server suggests to renew a certificate that it issued (RFC 9773 §4.2). A window in the
// past means "renew now".
func (a *ACME) SetRenewalWindow(cert *x509.Certificate, start, end time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.setRenewalWindow(cert, start, end)
}

func (a *ACME) setRenewalWindow(cert *x509.Certificate, start, end time.Time) error {
	body, err := json.Marshal(core.RenewalInfo{SuggestedWindow: core.SuggestedWindow{Start: start.UTC(), End: end.UTC()}})
	if err != nil {
		return fmt.Errorf("acmetest: renewal window: %w", err)
	}
	if err := a.pebble.db.SetARIResponse(cert.SerialNumber, string(body)); err != nil {
		return fmt.Errorf("acmetest: renewal window of %v: %w", cert.DNSNames, err)
	}
	return nil
}

// serve lets one request into Pebble. What the client sees of finalize it sees after settle, as the answer is short
// enough to stay in the server's buffer until serve returns.
func (a *ACME) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	answer := &statusWriter{ResponseWriter: w}
	a.enter(answer, r, body)
	switch {
	case r.URL.Path == newOrderPath:
		order := parseOrder(body)
		order.Status = answer.status
		a.orders.add(order)
	case strings.HasPrefix(r.URL.Path, finalizePath) && answer.status == http.StatusOK:
		a.settle(path.Base(r.URL.Path))
	}
}

// enter runs Pebble's handler, alone.
func (a *ACME) enter(w http.ResponseWriter, r *http.Request, body []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		refuseACME(w, Failure{Status: http.StatusServiceUnavailable})
	case strings.HasPrefix(r.URL.Path, authzPath) && len(payload(body)) > 0 && a.validating(path.Base(r.URL.Path)):
		refuseACME(w, Failure{Status: http.StatusBadRequest, Message: "a challenge of this authorization is being validated"})
	case strings.HasPrefix(r.URL.Path, renewalInfoPath) && a.renewalPoll > 0:
		seconds := strconv.Itoa(int(max(a.renewalPoll, time.Second) / time.Second))
		a.handler.ServeHTTP(&headerWriter{ResponseWriter: w, name: "Retry-After", value: seconds}, r)
	default:
		a.handler.ServeHTTP(w, r)
	}
}

// parseOrder reads the payload of a newOrder request without verifying it, which is Pebble's affair. What cannot be
// read yields an order without names.
func parseOrder(body []byte) Order {
	var request struct {
		Identifiers []acme.Identifier
		Replaces    string
	}
	if json.Unmarshal(payload(body), &request) != nil {
		return Order{}
	}
	order := Order{Replaces: request.Replaces}
	for _, id := range request.Identifiers {
		order.Names = append(order.Names, id.Value)
	}
	return order
}

// payload returns what a request has signed; nothing for a POST-as-GET (RFC 8555 §6.3) and for what cannot be read.
func payload(body []byte) []byte {
	var signed struct{ Payload string }
	if json.Unmarshal(body, &signed) != nil {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(signed.Payload)
	if err != nil {
		return nil
	}
	return raw
}

// validating says whether a challenge of an authorization is being validated. Such an authorization must not be
// deactivated: Pebble would leave its challenges read-locked, its validation would wait for them for ever with the
// authorization locked, and the next order would wait for that with the store locked.
func (a *ACME) validating(id string) bool {
	authorization := a.pebble.db.GetAuthorizationByID(id)
	if authorization == nil {
		return false
	}
	authorization.RLock()
	challenges := authorization.Challenges
	authorization.RUnlock()
	return slices.ContainsFunc(challenges, func(c *core.Challenge) bool {
		c.RLock()
		defer c.RUnlock()
		return c.Status == acme.StatusProcessing
	})
}

// settle waits until a finalized order has its certificate and can be found by it, and then tends to the certificate.
// Pebble issues in a goroutine of its own after it has answered finalize; a client that asks for the order meanwhile
// makes the order handler, which read-locks the order twice, deadlock with that goroutine, and one that renews at once is
// told that there is no such certificate. Pebble says nothing when it is done, so this polls, without mu, as a busy
// machine may take long to run the goroutine.
func (a *ACME) settle(orderID string) {
	a.mu.Lock()
	order := a.pebble.db.GetOrderByID(orderID)
	a.mu.Unlock()
	for deadline := time.Now().Add(settleTimeout); time.Now().Before(deadline); time.Sleep(200 * time.Microsecond) {
		order.RLock()
		cert, authorizations := order.CertificateObject, order.AuthorizationObjects
		order.RUnlock()
		if cert == nil {
			continue
		}
		if _, err := a.pebble.db.GetOrderByIssuedSerial(cert.ID); err != nil {
			continue
		}
		a.respell(order, cert)
		a.tend(cert.Cert, authorizations)
		return
	}
}

// respell lets an order be found also by the serial number of its certificate as clients write it who replace the
// certificate: as in DER, where a number whose first bit is set begins with a zero byte (RFC 9773 §4.1). Pebble looks
// for exactly the digits without it, and so refuses to replace one in 256 certificates.
func (a *ACME) respell(order *core.Order, cert *core.Certificate) {
	id := spelledInDER(cert.ID)
	if id == cert.ID {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	order.Lock()
	defer order.Unlock()
	again := *cert
	again.ID = id
	order.CertificateObject = &again
	_ = a.pebble.db.AddOrderByIssuedSerial(order) // refuses only an order without a certificate
	order.CertificateObject = cert
}

// spelledInDER returns the hexadecimal digits of a positive number, with those of the byte before that DER asks for.
func spelledInDER(digits string) string {
	if len(digits)%2 == 0 && digits != "" && digits[0] >= '8' {
		return "00" + digits
	}
	return digits
}

// tend does what remains to be done for a new certificate.
func (a *ACME) tend(cert *x509.Certificate, authorizations []*core.Authorization) {
	a.mu.Lock()
	defer a.mu.Unlock()
	spend(authorizations)
	if a.validity <= shortLived {
		lifetime := cert.NotAfter.Sub(cert.NotBefore)
		// Clients refuse a window of less than two seconds. The certificate has just been stored, so this cannot fail.
		width := max(lifetime/6, 3*time.Second)
		middle := cert.NotBefore.Add(lifetime / 2)
		_ = a.setRenewalWindow(cert, middle, middle.Add(width))
	}
	a.issued.add(cert)
}

// spend keeps authorizations from being used for another order. PEBBLE_AUTHZREUSE=0 should do that, yet Pebble reuses
// one in a hundred even so, and a test that counts DNS records would fail as often. Pebble looks for reusable ones by
// the account of their order; a finalized order does not need that any more.
func spend(authorizations []*core.Authorization) {
	for _, authorization := range authorizations {
		authorization.Lock()
		authorization.Order = &core.Order{}
		authorization.Unlock()
	}
}

// refuseACME answers with an injected failure (RFC 8555 §6.7).
func refuseACME(w http.ResponseWriter, f Failure) {
	problem := "serverInternal"
	switch f.Status {
	case http.StatusTooManyRequests:
		problem = "rateLimited"
	case http.StatusBadRequest:
		problem = "malformed"
	}
	detail := f.Message
	if detail == "" {
		detail = strings.ToLower(http.StatusText(f.Status))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(f.Status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "urn:ietf:params:acme:error:" + problem, "detail": detail, "status": f.Status,
	})
}

// headerWriter sets a header of the answer, whatever the handler sets it to.
type headerWriter struct {
	http.ResponseWriter
	name, value string
}

// WriteHeader implements http.ResponseWriter.
func (w *headerWriter) WriteHeader(status int) {
	w.Header().Set(w.name, w.value)
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *headerWriter) Write(p []byte) (int, error) {
	w.Header().Set(w.name, w.value)
	return w.ResponseWriter.Write(p)
}

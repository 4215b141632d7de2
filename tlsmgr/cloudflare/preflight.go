package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// TokenKind says who owns a token.
type TokenKind string

// The kinds of tokens.
const (
	KindUser    TokenKind = "user"
	KindAccount TokenKind = "account"
	KindUnknown TokenKind = "unknown" // nothing could be asked, or the API did not say
)

// Report is what a read-only look at the API tells about a credential.
//
// It cannot tell whether DNS:Edit or only DNS:Read was granted: no read shows
// the difference. The first challenge record does.
type Report struct {
	Credential  string       // its name in the configuration
	Source      string       // where the token comes from
	Fingerprint string       // of the token in use; empty without one
	Kind        TokenKind    // who owns the token
	TokenErr    error        // why the token cannot be used for any zone; nil when it can
	Zones       []ZoneReport // in the order of the configuration; empty with a TokenErr
	ExtraZones  []string     // zones that the token reaches and the configuration does not list; the first 50
	Warnings    []string     // in plain words; they block nothing
}

// ZoneReport is one zone's part of a Report.
type ZoneReport struct {
	Zone        string
	OK          bool     // the zone was found and its DNS records could be read
	Err         error    // why not
	NameServers []string // which the API names for the zone; nil when the zone was not found
}

// Err joins all that failed; nil when orders may go ahead. Ask Temporary before
// blocking anything because of it.
func (r Report) Err() error {
	failures := []error{r.TokenErr}
	for _, z := range r.Zones {
		failures = append(failures, z.Err)
	}
	return errors.Join(failures...)
}

// Temporary reports whether something failed and nothing of it is definite: the
// network, 429, 5xx. Then nothing is known against the credential.
func (r Report) Temporary() bool {
	if r.TokenErr != nil && !Temporary(r.TokenErr) {
		return false
	}
	for _, z := range r.Zones {
		if z.Err != nil && !Temporary(z.Err) {
			return false
		}
	}
	return r.Err() != nil
}

// Blocks returns the definite failure that makes orders for names in zone
// pointless until somebody mends it, or nil.
func (r Report) Blocks(zone string) error {
	if r.TokenErr != nil && !Temporary(r.TokenErr) {
		return r.TokenErr
	}
	for _, z := range r.Zones {
		if z.Zone == canonical(zone) && z.Err != nil && !Temporary(z.Err) {
			return z.Err
		}
	}
	return nil
}

// String is the report in plain words, one line for each zone, hint and warning.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "credential %q (%s", r.Credential, r.Source)
	if r.Fingerprint != "" {
		fmt.Fprintf(&b, ", fingerprint %s, %s token", r.Fingerprint, r.Kind)
	}
	b.WriteString(")\n")
	if r.TokenErr != nil {
		writeFailure(&b, "token", r.TokenErr)
	}
	anyOK := false
	for _, z := range r.Zones {
		if z.OK {
			anyOK = true
			fmt.Fprintf(&b, "  zone %s: ok\n", z.Zone)
		} else {
			writeFailure(&b, "zone "+z.Zone, z.Err)
		}
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "  warning: %s\n", w)
	}
	if anyOK {
		b.WriteString("  note: DNS:Edit cannot be verified without writing a record; only reading was tried\n")
	}
	return b.String()
}

func writeFailure(b *strings.Builder, what string, err error) {
	state := "failed"
	if Temporary(err) {
		state = "unknown for now"
	}
	fmt.Fprintf(b, "  %s: %s: %v\n", what, state, err)
	if hint := Hint(err); hint != "" {
		fmt.Fprintf(b, "    hint: %s\n", hint)
	}
}

// preflightTimeout bounds the look at one credential, with whatever number of zones.
const preflightTimeout = 3 * time.Minute

// Preflight looks at all credentials, side by side, and returns their reports in the
// order of the configuration. It only reads.
func (m *Mux) Preflight(ctx context.Context) []Report {
	reports := make([]Report, len(m.credentials))
	var all sync.WaitGroup
	for i, c := range m.credentials {
		all.Go(func() { reports[i] = m.preflight(ctx, c) })
	}
	all.Wait()
	return reports
}

// PreflightOf looks at one credential.
func (m *Mux) PreflightOf(ctx context.Context, credential string) Report {
	c := m.credential(credential)
	if c == nil {
		return Report{Credential: credential, Kind: KindUnknown, TokenErr: fmt.Errorf("credential %q is not configured", credential)}
	}
	return m.preflight(ctx, c)
}

func (m *Mux) preflight(ctx context.Context, c *credential) (r Report) {
	r = Report{Credential: c.name, Source: c.endpoint.source, Kind: KindUnknown}
	defer recovered(m.log, "looking at credential "+c.name, &r.TokenErr)
	ctx, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()

	token, err := c.keeper.token()
	if err != nil {
		r.TokenErr = err
		return r
	}
	r.Fingerprint = token.Fingerprint()
	defer func() { c.looked(token, r.Err()) }()
	whole := &client{endpoint: c.endpoint, token: token}
	verdict := whole.verify(ctx, "/user/tokens/verify")
	if verdict != nil && Temporary(verdict) {
		r.TokenErr = verdict
		return r
	}
	var accounts []string
	for _, zone := range c.zones {
		z, account := m.preflightZone(ctx, c, zone)
		r.Zones = append(r.Zones, z)
		if account != "" && !slices.Contains(accounts, account) {
			accounts = append(accounts, account)
		}
	}
	switch {
	case verdict == nil:
		r.Kind = KindUser
	case alive(r.Zones):
		// What is no living user token may be an account's. Should it not be
		// allowed to verify itself there: it has just answered, so it lives.
		if whole.ofAccount(ctx, accounts) {
			r.Kind = KindAccount
		}
	default:
		// The token as a whole is refused; each zone would only say so again.
		r.TokenErr, r.Zones = mostExact(verdict, r.Zones), nil
		return r
	}
	whole.warn(ctx, c.zones, &r)
	return r
}

// alive reports whether some call about a zone did better, or no worse for sure,
// than a dead token can.
func alive(zones []ZoneReport) bool {
	return slices.ContainsFunc(zones, func(z ZoneReport) bool {
		answer, ok := errors.AsType[*APIError](z.Err)
		return z.Err == nil || Temporary(z.Err) || z.NameServers != nil || ok && answer.Kind == KindNoZone
	})
}

// mostExact returns the error that says best why a token is refused: the one about
// this machine's address, if there is one, since the others sound as if the token were
// dead.
func mostExact(verdict error, zones []ZoneReport) error {
	for _, z := range zones {
		if answer, ok := errors.AsType[*APIError](z.Err); ok && answer.Meaning == meaningLocation {
			return z.Err
		}
	}
	return verdict
}

// verify asks whether the token is alive.
func (c *client) verify(ctx context.Context, path string) error {
	var token struct {
		Status string `json:"status"`
	}
	if _, err := c.get(ctx, path, nil, &token); err != nil {
		return err
	}
	if token.Status != "active" {
		return &APIError{
			Credential: c.credential, Method: http.MethodGet, Path: path, Kind: KindAPI, Status: http.StatusOK,
			Meaning: fmt.Sprintf("the token is %s", printable(token.Status)),
			Cure:    "activate it, or make a new one and put it into " + c.source + ": " + tokenPage,
		}
	}
	return nil
}

// ofAccount reports whether one of the accounts knows the token as its own.
func (c *client) ofAccount(ctx context.Context, accounts []string) bool {
	return slices.ContainsFunc(accounts, func(id string) bool {
		return c.verify(ctx, "/accounts/"+url.PathEscape(id)+"/tokens/verify") == nil
	})
}

// preflightZone looks a zone up and reads the challenge name's records. It returns
// the zone's account too.
func (m *Mux) preflightZone(ctx context.Context, c *credential, zone string) (z ZoneReport, account string) {
	z.Zone = zone
	a, err := c.to(m, zone)
	if err != nil {
		z.Err = err
		return z, ""
	}
	info, err := a.client.zoneInfo(ctx, 0)
	if err != nil {
		z.Err = err
		return z, ""
	}
	z.NameServers = append([]string{}, info.NameServers...)
	var records []struct{}
	query := url.Values{"type": {"TXT"}, "name": {"_acme-challenge." + zone}}
	if _, err := a.client.get(ctx, "/zones/"+url.PathEscape(info.ID)+"/dns_records", query, &records); err != nil {
		z.Err = err
		return z, info.Account.ID
	}
	z.OK = true
	return z, info.Account.ID
}

// warn lists the zones that the token reaches and that are not ours.
func (c *client) warn(ctx context.Context, listed []string, r *Report) {
	var reached []zoneAnswer
	total, err := c.get(ctx, "/zones", url.Values{"per_page": {"50"}}, &reached)
	if err != nil {
		c.log.Debug("list of the token's zones could not be read", zap.Error(err))
		return
	}
	for _, z := range reached {
		name := canonical(z.Name)
		if !slices.Contains(listed, name) {
			r.ExtraZones = append(r.ExtraZones, name)
			continue
		}
		if z.Status != "" && z.Status != "active" {
			r.Warnings = append(r.Warnings, fmt.Sprintf("zone %s is %s at Cloudflare, not active: challenge records may not be visible", name, printable(z.Status)))
		}
		if z.Type == "partial" {
			r.Warnings = append(r.Warnings, fmt.Sprintf("zone %s has a partial (CNAME) setup: its DNS is served elsewhere, where challenge records will not be visible", name))
		}
	}
	extra := len(r.ExtraZones) + max(0, total-len(reached))
	if extra == 0 {
		return
	}
	shown := slices.Clone(r.ExtraZones[:min(5, len(r.ExtraZones))])
	more := ""
	if extra > len(shown) {
		more = fmt.Sprintf(" and %d more", extra-len(shown))
	}
	r.Warnings = append(r.Warnings, fmt.Sprintf("the token reaches zones that are not listed: %s%s; restrict its Zone Resources to the listed zones at %s",
		printable(strings.Join(shown, ", ")), more, tokenPage))
}

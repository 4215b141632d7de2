package acmetest

import (
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	apiHost = "api." + domain
	apiPath = "/client/v4"
)

// Permission is a set of what a token may do in its zones.
type Permission uint8

// The permissions that matter to certificates. DNSEdit includes DNSRead.
const (
	ZoneRead Permission = 1 << iota
	DNSRead
	DNSEdit
	NoPermission // nothing at all; for itself only
)

// AllZones among a token's zones stands for every zone there is.
const AllZones = "*"

// Token is an API token.
type Token struct {
	// Value is the secret. It may look like anything: the form of a token is judged only when it was never registered.
	Value       string
	Zones       []string   // zones it covers; AllZones for all
	Permissions Permission // zero is ZoneRead|DNSEdit, what the documentation tells people to give
	Revoked     bool       // deleted, or rolled
	Account     bool       // owned by the account, not by a user: /user/tokens/verify does not know it
	IPFiltered  bool       // has an address filter that 127.0.0.1 does not pass
}

func (t Token) covers(zone string) bool {
	return slices.ContainsFunc(t.Zones, func(z string) bool { return z == AllZones || canonical(z) == zone })
}

func (t Token) may(p Permission) bool {
	granted := t.Permissions
	if granted == 0 {
		granted = ZoneRead | DNSEdit
	}
	if granted&DNSEdit != 0 {
		granted |= DNSRead
	}
	return granted&p == p
}

// API is the stand-in for Cloudflare's v4 API: tokens, zones and DNS records, with the real one's answers to what can
// go wrong. One account owns all zones.
type API struct {
	URL       string // https://api.sallyport.test:PORT/client/v4
	AccountID string

	recorder
	zones *zones

	mu     sync.Mutex
	tokens map[string]Token
}

func newAPI(z *zones) *API {
	a := &API{AccountID: hexID("account"), zones: z, tokens: make(map[string]Token)}
	mux := http.NewServeMux()
	a.route(mux, "GET /user/tokens/verify", a.verifyUserToken)
	a.route(mux, "GET /accounts/{account}/tokens/verify", a.verifyAccountToken)
	a.route(mux, "GET /zones", a.listZones)
	a.route(mux, "GET /zones/{zone}", a.getZone)
	a.route(mux, "GET /zones/{zone}/dns_records", a.listRecords)
	a.route(mux, "POST /zones/{zone}/dns_records", a.createRecord)
	a.route(mux, "GET /zones/{zone}/dns_records/{record}", a.getRecord)
	a.route(mux, "DELETE /zones/{zone}/dns_records/{record}", a.deleteRecord)
	a.route(mux, "PATCH /zones/{zone}/dns_records/{record}", a.changeRecord)
	a.route(mux, "PUT /zones/{zone}/dns_records/{record}", a.changeRecord)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { notRouted(r.URL.Path).send(w) })
	a.recorder.refuse = refuseAPI
	a.recorder.next = func(w http.ResponseWriter, r *http.Request, _ []byte) { mux.ServeHTTP(w, r) }
	return a
}

// AddToken registers a token, or replaces the one with the same value. Zones that do not exist yet are created.
func (a *API) AddToken(t Token) {
	for _, name := range t.Zones {
		if name != AllZones {
			a.zones.add(name)
		}
	}
	t.Zones = slices.Clone(t.Zones)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens[t.Value] = t
}

// RevokeToken makes the API refuse a token from now on. AddToken brings it back.
func (a *API) RevokeToken(value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens[value] = Token{Value: value, Revoked: true}
}

// ZoneID returns the id of a zone, which follows from its name; the zone need not exist.
func (a *API) ZoneID(name string) string { return zoneID(name) }

// token returns a registered token, revoked or not.
func (a *API) token(value string) (Token, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.tokens[value]
	return t, ok
}

// operation answers one call by a token that is known.
type operation func(r *http.Request, t Token) answer

// route registers an operation. Headers and token come before the operation and before the account or zone, as they do
// in the real API.
func (a *API) route(mux *http.ServeMux, pattern string, do operation) {
	method, path, _ := strings.Cut(pattern, " ")
	mux.HandleFunc(method+" "+apiPath+path, func(w http.ResponseWriter, r *http.Request) {
		t, problem := a.authenticate(r)
		if problem != nil {
			problem.send(w)
			return
		}
		do(r, t).send(w)
	})
}

// What the real API takes for a token and for an id; anything else is not even looked up.
var (
	wellFormed = regexp.MustCompile(`^[A-Za-z0-9_-]{40,80}$`)
	hexIDs     = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// authenticate returns the token of a request, or the answer to a request that has no good one.
func (a *API) authenticate(r *http.Request) (Token, *answer) {
	refused := func(a answer) (Token, *answer) { return Token{}, &a }
	verifying := strings.HasSuffix(r.URL.Path, "/tokens/verify")
	email, key := r.Header.Values("X-Auth-Email"), r.Header.Values("X-Auth-Key")
	if len(email)+len(key) > 0 {
		// Whatever else the request carries: this is how a stale CF_API_EMAIL defeats a good token.
		var chain []apiError
		if len(email) > 0 && !strings.Contains(email[0], "@") {
			chain = append(chain, apiError{Code: 6102, Message: "Invalid format for X-Auth-Email header"})
		}
		return refused(invalidHeaders(append(chain, apiError{Code: 6103, Message: "Invalid format for X-Auth-Key header"})...))
	}
	value, present := bearer(r.Header)
	if !present {
		if verifying {
			return refused(refusal(http.StatusBadRequest, 1001, `Missing "Authorization" header`))
		}
		return refused(missingHeaders())
	}
	t, registered := a.token(value)
	switch {
	case !registered && !wellFormed.MatchString(value):
		return refused(invalidHeaders(apiError{Code: 6111, Message: "Invalid format for Authorization header"}))
	case (!registered || t.Revoked) && verifying:
		return refused(invalidToken())
	case !registered || t.Revoked:
		return refused(invalidAccess())
	case t.IPFiltered:
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		return refused(wrongLocation(host))
	}
	return t, nil
}

func (a *API) verifyUserToken(_ *http.Request, t Token) answer {
	if t.Account {
		return invalidToken()
	}
	return verified(t)
}

func (a *API) verifyAccountToken(r *http.Request, t Token) answer {
	switch {
	case r.PathValue("account") != a.AccountID:
		return unauthorized()
	case !t.Account:
		return invalidToken()
	}
	return verified(t)
}

func verified(t Token) answer {
	a := result(map[string]string{"id": hexID("token " + t.Value), "status": "active"})
	a.Messages = []message{{Code: 10000, Message: "This API Token is valid and active"}}
	return a
}

type zoneJSON struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Status      string      `json:"status"`
	Paused      bool        `json:"paused"`
	Type        string      `json:"type"`
	NameServers []string    `json:"name_servers"`
	CreatedOn   time.Time   `json:"created_on"`
	ModifiedOn  time.Time   `json:"modified_on"`
	ActivatedOn time.Time   `json:"activated_on"`
	Account     accountJSON `json:"account"`
	Permissions []string    `json:"permissions"`
}

type accountJSON struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (a *API) zoneJSON(zn *zone, t Token) zoneJSON {
	var granted []string
	for _, p := range []struct {
		Permission
		name string
	}{{DNSEdit, "#dns_records:edit"}, {DNSRead, "#dns_records:read"}, {ZoneRead, "#zone:read"}} {
		if t.may(p.Permission) {
			granted = append(granted, p.name)
		}
	}
	return zoneJSON{
		ID: zn.id, Name: zn.name, Status: "active", Type: "full", NameServers: nameServers[:],
		CreatedOn: zn.created, ModifiedOn: zn.created, ActivatedOn: zn.created,
		Account: accountJSON{ID: a.AccountID, Name: "Sallyport test account"}, Permissions: granted,
	}
}

// listZones answers with the zones that the token may read. One that it may not read is no error: it is just not there,
// which is what a token without Zone:Read, or for another zone, leads to in real life.
func (a *API) listZones(r *http.Request, t Token) answer {
	query := r.URL.Query()
	a.zones.mu.Lock()
	defer a.zones.mu.Unlock()
	found := []zoneJSON{}
	for _, zn := range a.zones.sorted() {
		if query.Has("name") && canonical(query.Get("name")) != zn.name {
			continue
		}
		if t.covers(zn.name) && t.may(ZoneRead) {
			found = append(found, a.zoneJSON(zn, t))
		}
	}
	return paged(found, query, 20, 50)
}

func (a *API) getZone(r *http.Request, t Token) answer {
	id := r.PathValue("zone")
	if !hexIDs.MatchString(id) {
		return notRouted(r.URL.Path)
	}
	a.zones.mu.Lock()
	defer a.zones.mu.Unlock()
	zn := a.zones.byID[id]
	if zn == nil || !t.covers(zn.name) || !t.may(ZoneRead) {
		return unauthorized()
	}
	return result(a.zoneJSON(zn, t))
}

// paged answers with one page of a list.
func paged[T any](all []T, query url.Values, perPage, maxPerPage int) answer {
	page := 1
	if n, err := strconv.Atoi(query.Get("page")); err == nil && n > 0 {
		page = n
	}
	if n, err := strconv.Atoi(query.Get("per_page")); err == nil && n > 0 {
		perPage = min(n, maxPerPage)
	}
	start := min((page-1)*perPage, len(all))
	part := all[start:min(start+perPage, len(all))]
	a := result(part)
	a.ResultInfo = &resultInfo{
		Page: page, PerPage: perPage, Count: len(part), TotalCount: len(all),
		TotalPages: (len(all) + perPage - 1) / perPage,
	}
	return a
}

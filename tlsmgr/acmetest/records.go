package acmetest

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

type recordJSON struct {
	ID         string         `json:"id"`
	ZoneID     string         `json:"zone_id"`
	ZoneName   string         `json:"zone_name"`
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Content    string         `json:"content"`
	Proxiable  bool           `json:"proxiable"`
	Proxied    bool           `json:"proxied"`
	TTL        int            `json:"ttl"`
	Settings   map[string]any `json:"settings"`
	Meta       map[string]any `json:"meta"`
	Comment    *string        `json:"comment"`
	Tags       []string       `json:"tags"`
	CreatedOn  time.Time      `json:"created_on"`
	ModifiedOn time.Time      `json:"modified_on"`
}

func (zn *zone) json(r *Record) recordJSON {
	out := recordJSON{
		ID: r.ID, ZoneID: zn.id, ZoneName: zn.name, Name: r.Name, Type: r.Type, Content: r.Content,
		Proxiable: slices.Contains([]string{"A", "AAAA", "CNAME"}, r.Type), Proxied: r.Proxied, TTL: r.TTL,
		Settings: map[string]any{}, Meta: map[string]any{}, Tags: []string{},
		CreatedOn: r.created, ModifiedOn: r.modified,
	}
	if r.Comment != "" {
		out.Comment = &r.Comment
	}
	return out
}

// Records returns the records of a zone in the order of creation; none when there is no such zone.
func (a *API) Records(zoneName string) []Record {
	a.zones.mu.Lock()
	defer a.zones.mu.Unlock()
	zn := a.zones.byID[zoneID(zoneName)]
	if zn == nil {
		return nil
	}
	records := make([]Record, len(zn.records))
	for i, r := range zn.records {
		records[i] = *r
	}
	return records
}

// SetRecord puts a record in a zone as if somebody else had made it, without a request: no permission, no duplicate and
// no form is checked. A record with an ID replaces the one that has it. It returns what is there now. The zone is
// created if need be. A TTL of zero is 1, automatic.
func (a *API) SetRecord(zoneName string, r Record) Record {
	a.zones.add(zoneName)
	a.zones.mu.Lock()
	defer a.zones.mu.Unlock()
	zn := a.zones.byID[zoneID(zoneName)]
	if r.TTL == 0 {
		r.TTL = 1
	}
	old, _ := zn.find(r.ID)
	if old == nil {
		return *a.zones.create(zn, r)
	}
	r.created, r.modified, r.Name = old.created, time.Now().UTC(), zn.absolute(r.Name)
	*old = r
	a.zones.publish(zn, old)
	return *old
}

// zoneFor returns the zone of a request, if the token may do there what p says. The caller holds the lock.
func (a *API) zoneFor(r *http.Request, t Token, p Permission) (*zone, *answer) {
	id := r.PathValue("zone")
	if !hexIDs.MatchString(id) {
		problem := notRouted(r.URL.Path)
		return nil, &problem
	}
	zn := a.zones.byID[id]
	if zn == nil || !t.covers(zn.name) || !t.may(p) {
		problem := authenticationError()
		return nil, &problem
	}
	return zn, nil
}

func (a *API) listRecords(r *http.Request, t Token) answer {
	a.zones.mu.Lock()
	defer a.zones.mu.Unlock()
	zn, problem := a.zoneFor(r, t, DNSRead)
	if problem != nil {
		return *problem
	}
	query := r.URL.Query()
	found := []recordJSON{}
	for _, record := range zn.records {
		if selects(query, record) {
			found = append(found, zn.json(record))
		}
	}
	return paged(found, query, 100, 5000)
}

// selects says whether a record satisfies all filters of a list request. Filters do not distinguish case.
func selects(query url.Values, r *Record) bool {
	contains := func(s, part string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(part)) }
	for filter, ok := range map[string]func(want string) bool{
		"type":             func(want string) bool { return strings.EqualFold(r.Type, want) },
		"name":             func(want string) bool { return r.Name == canonical(want) },
		"name.exact":       func(want string) bool { return r.Name == canonical(want) },
		"name.contains":    func(want string) bool { return contains(r.Name, want) },
		"content":          func(want string) bool { return strings.EqualFold(r.Content, want) },
		"content.exact":    func(want string) bool { return strings.EqualFold(r.Content, want) },
		"content.contains": func(want string) bool { return contains(r.Content, want) },
		"comment.exact":    func(want string) bool { return strings.EqualFold(r.Comment, want) },
		"comment.contains": func(want string) bool { return contains(r.Comment, want) },
	} {
		if want := query.Get(filter); want != "" && !ok(want) {
			return false
		}
	}
	return true
}

// recordInput is the body of a request that makes or changes a record; nil is "not given".
type recordInput struct {
	Type    *string `json:"type"`
	Name    *string `json:"name"`
	Content *string `json:"content"`
	TTL     *int    `json:"ttl"`
	Proxied *bool   `json:"proxied"`
	Comment *string `json:"comment"`
}

// onto puts what is given over a record.
func (in recordInput) onto(r Record, zn *zone) Record {
	if in.Type != nil {
		r.Type = strings.ToUpper(*in.Type)
	}
	if in.Name != nil && *in.Name != "" {
		r.Name = zn.absolute(*in.Name)
	}
	if in.Content != nil {
		r.Content = *in.Content
	}
	if in.TTL != nil && *in.TTL != 0 {
		r.TTL = *in.TTL
	}
	if in.Proxied != nil {
		r.Proxied = *in.Proxied
	}
	if in.Comment != nil {
		r.Comment = *in.Comment
	}
	return r
}

func (a *API) createRecord(r *http.Request, t Token) answer {
	a.zones.mu.Lock()
	defer a.zones.mu.Unlock()
	zn, problem := a.zoneFor(r, t, DNSEdit)
	if problem != nil {
		return *problem
	}
	record, problem := decodeRecord(r, Record{TTL: 1}, zn)
	if problem != nil {
		return *problem
	}
	return result(zn.json(a.zones.create(zn, record)))
}

func (a *API) getRecord(r *http.Request, t Token) answer {
	a.zones.mu.Lock()
	defer a.zones.mu.Unlock()
	zn, problem := a.zoneFor(r, t, DNSRead)
	if problem != nil {
		return *problem
	}
	record, _ := zn.find(r.PathValue("record"))
	if record == nil {
		return noSuchRecord()
	}
	return result(zn.json(record))
}

func (a *API) deleteRecord(r *http.Request, t Token) answer {
	a.zones.mu.Lock()
	defer a.zones.mu.Unlock()
	zn, problem := a.zoneFor(r, t, DNSEdit)
	if problem != nil {
		return *problem
	}
	record, i := zn.find(r.PathValue("record"))
	if record == nil {
		return noSuchRecord()
	}
	zn.records = slices.Delete(zn.records, i, i+1)
	zn.serial++
	return result(map[string]string{"id": record.ID})
}

// changeRecord serves PATCH, which keeps what is not given, and PUT, which does not.
func (a *API) changeRecord(r *http.Request, t Token) answer {
	a.zones.mu.Lock()
	defer a.zones.mu.Unlock()
	zn, problem := a.zoneFor(r, t, DNSEdit)
	if problem != nil {
		return *problem
	}
	record, _ := zn.find(r.PathValue("record"))
	if record == nil {
		return noSuchRecord()
	}
	base := *record
	if r.Method == http.MethodPut {
		base = Record{ID: record.ID, TTL: 1, created: record.created}
	}
	changed, problem := decodeRecord(r, base, zn)
	if problem != nil {
		return *problem
	}
	changed.modified = time.Now().UTC()
	*record = changed
	a.zones.publish(zn, record)
	return result(zn.json(record))
}

// decodeRecord lays the body of a request over base and checks the result.
func decodeRecord(r *http.Request, base Record, zn *zone) (Record, *answer) {
	refused := func(a answer) (Record, *answer) { return Record{}, &a }
	var in recordInput
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return refused(refusal(http.StatusBadRequest, 9207, "Request body is invalid."))
	}
	record := in.onto(base, zn)
	switch {
	case record.Type == "":
		return refused(invalidRecord(9003, "Invalid 'type' was provided."))
	case record.Name == "" || len(record.Name) > 253 || strings.Contains(record.Name, ".."):
		return refused(refusal(http.StatusBadRequest, 9000, "DNS name is invalid."))
	case record.Content == "":
		return refused(invalidRecord(9020, "Content for "+record.Type+" record is missing."))
	case record.TTL != 1 && (record.TTL < 60 || record.TTL > 86400):
		return refused(invalidRecord(9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic."))
	case record.Type == "A" && !isIPv4(record.Content):
		return refused(refusal(http.StatusBadRequest, 9005, "Content for A record must be a valid IPv4 address."))
	}
	if problem := clash(zn, record); problem != nil {
		return Record{}, problem
	}
	return record, nil
}

func isIPv4(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is4()
}

// clash returns the answer to a record that cannot stand beside those that are there.
func clash(zn *zone, r Record) *answer {
	host := []string{"A", "AAAA", "CNAME"}
	for _, other := range zn.records {
		if other.ID == r.ID || other.Name != r.Name {
			continue
		}
		var problem answer
		switch same := other.Type == r.Type && other.text() == r.text(); {
		case same && other.TTL == r.TTL && other.Proxied == r.Proxied && other.Comment == r.Comment:
			problem = refusal(http.StatusBadRequest, 81058, "An identical record already exists.")
		case same:
			problem = refusal(http.StatusBadRequest, 81057, "Record already exists.")
		case r.Type == "CNAME" && slices.Contains(host, other.Type), other.Type == "CNAME" && slices.Contains(host, r.Type):
			problem = refusal(http.StatusBadRequest, 81053, "An A, AAAA, or CNAME record with that host already exists.")
		default:
			continue
		}
		return &problem
	}
	return nil
}

package acmetest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Record is a DNS record of a zone, as the API has it.
type Record struct {
	ID      string // 32 hexadecimal digits, counted up from 1
	Type    string // TXT, A, CNAME, ...
	Name    string // absolute, without the final dot
	Content string // as it was given; the text of a TXT record is usually in quotes
	TTL     int    // seconds; 1 is "automatic", which is served as 300
	Proxied bool
	Comment string

	created, modified time.Time
	visible           time.Time // when the name server begins to answer with it
	held              bool      // not before DNS.Release
}

// text returns the content without the quotes that a TXT record may have around it. The real API keeps both spellings
// and takes them for the same record.
func (r *Record) text() string {
	if r.Type == "TXT" && len(r.Content) >= 2 && strings.HasPrefix(r.Content, `"`) && strings.HasSuffix(r.Content, `"`) {
		return r.Content[1 : len(r.Content)-1]
	}
	return r.Content
}

// zone is one zone and its records, in the order of creation.
type zone struct {
	id, name string
	serial   uint32 // of the SOA record
	created  time.Time
	records  []*Record
}

// zones holds all zones; the API writes them and the name server reads them.
type zones struct {
	mu     sync.Mutex
	byID   map[string]*zone
	lastID int
	delay  time.Duration
	held   bool
}

// canonical returns a name in lower case without its final dot.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// zoneID derives a zone's id from its name, so that the requests of two runs can be compared byte by byte.
func zoneID(name string) string { return hexID("zone " + canonical(name)) }

func hexID(of string) string {
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:16])
}

// add makes sure that a zone exists. The caller holds no lock.
func (z *zones) add(name string) {
	name = canonical(name)
	z.mu.Lock()
	defer z.mu.Unlock()
	id := zoneID(name)
	if z.byID == nil {
		z.byID = make(map[string]*zone)
	}
	if z.byID[id] == nil {
		z.byID[id] = &zone{id: id, name: name, serial: 1, created: time.Now().UTC()}
	}
}

// sorted returns the zones by name. The caller holds the lock.
func (z *zones) sorted() []*zone {
	all := make([]*zone, 0, len(z.byID))
	for _, zn := range z.byID {
		all = append(all, zn)
	}
	slices.SortFunc(all, func(a, b *zone) int { return strings.Compare(a.name, b.name) })
	return all
}

// covering returns the longest zone that a name lies in, or nil. The caller holds the lock.
func (z *zones) covering(name string) *zone {
	for suffix := canonical(name); suffix != ""; {
		if zn := z.byID[zoneID(suffix)]; zn != nil {
			return zn
		}
		_, suffix, _ = strings.Cut(suffix, ".")
	}
	return nil
}

// create puts a record in a zone and gives it an id. The caller holds the lock.
func (z *zones) create(zn *zone, r Record) *Record {
	z.lastID++
	now := time.Now().UTC()
	r.ID = fmt.Sprintf("%032x", z.lastID)
	r.Name = zn.absolute(r.Name)
	r.created, r.modified = now, now
	z.publish(zn, &r)
	zn.records = append(zn.records, &r)
	return &r
}

// publish settles when the name server begins to answer with a new or changed record. The caller holds the lock.
func (z *zones) publish(zn *zone, r *Record) {
	zn.serial++
	r.visible = time.Now().Add(z.delay)
	r.held = z.held
}

// absolute completes a record's name as the real API does: relative to the zone, unless it ends in the zone's name.
func (zn *zone) absolute(name string) string {
	name = canonical(name)
	switch {
	case name == "@":
		return zn.name
	case name == zn.name, strings.HasSuffix(name, "."+zn.name):
		return name
	}
	return name + "." + zn.name
}

// find returns the record with an id and its index, or nil.
func (zn *zone) find(id string) (*Record, int) {
	i := slices.IndexFunc(zn.records, func(r *Record) bool { return r.ID == id })
	if i < 0 {
		return nil, -1
	}
	return zn.records[i], i
}

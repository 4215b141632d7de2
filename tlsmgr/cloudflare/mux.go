package cloudflare

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"time"

	library "github.com/libdns/cloudflare"
	"github.com/libdns/libdns"
	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/config/secret"
)

// Credential is a token and the zones it is used for.
type Credential struct {
	// Name in logs, errors and reports; unique and not empty.
	Name string

	// Zones the token is used for, at least one, each in no other credential.
	// Case and a trailing dot do not matter.
	Zones []string

	// Source of the token; required.
	Source Source

	// APIURL is the https:// address of the API. Empty is Cloudflare's.
	APIURL string

	// Roots that the API's certificate must lead to; required, because the
	// default would follow SSL_CERT_FILE.
	Roots *x509.CertPool
}

// Options says what a Mux works with.
type Options struct {
	// Credentials with disjoint zones. None is allowed: then Find finds nothing.
	Credentials []Credential

	// Resolver finds the API and the zones' name servers; required.
	Resolver *net.Resolver

	// NameServers (host:port) are asked for challenge records instead of the
	// zone's own. Empty: the zone's own, which the API names.
	NameServers []string

	// PropagationTimeout is how long Wait waits for a record. 0 is 2 minutes.
	PropagationTimeout time.Duration

	// PropagationInterval is the pause between two questions to a name
	// server. 0 is 1 second.
	PropagationInterval time.Duration

	// Journal remembers our own TXT records. Nil is for a Mux that is only to
	// look, as Preflight does: Present fails, since it makes no record that
	// nobody remembers.
	Journal Journal

	// Logger; nil logs nothing.
	Logger *zap.Logger

	// Observer is told what metrics count; nil is nobody.
	Observer Observer
}

// Mux answers DNS-01 challenges (RFC 8555 section 8.4), each with the credential
// of the longest configured zone that holds the name. It never guesses a zone
// from SOA records. It is safe for concurrent use.
type Mux struct {
	zones       map[string]*credential // by zone: lower case, no trailing dot
	credentials []*credential          // in the order of Options
	nameServers []string
	resolver    *net.Resolver
	timeout     time.Duration
	interval    time.Duration
	journal     Journal
	log         *zap.Logger
	observer    Observer

	// Seams for tests.
	dnsPort     string
	newProvider func(library.HTTPClient) provider

	mu   sync.Mutex
	live map[liveKey]int // records between Present and CleanUp: not Sweep's
}

var (
	_ acmez.Solver = (*Mux)(nil)
	_ acmez.Waiter = (*Mux)(nil)
)

// provider is what is used of libdns/cloudflare.
type provider interface {
	libdns.RecordAppender
	libdns.RecordDeleter
}

// New makes a Mux. It reads no token and starts nothing; its errors are about
// the options.
func New(o Options) (*Mux, error) {
	if o.Resolver == nil {
		return nil, errors.New("cloudflare: a resolver is required")
	}
	if o.Journal == nil {
		o.Journal = noJournal{}
	}
	if o.PropagationTimeout < 0 || o.PropagationInterval < 0 {
		return nil, errors.New("cloudflare: propagation timeout and interval must not be negative")
	}
	for _, server := range o.NameServers {
		if _, _, err := net.SplitHostPort(server); err != nil {
			return nil, fmt.Errorf("cloudflare: name server %q: %w", server, err)
		}
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	m := &Mux{
		zones:       make(map[string]*credential),
		nameServers: o.NameServers,
		resolver:    o.Resolver,
		timeout:     o.PropagationTimeout,
		interval:    o.PropagationInterval,
		journal:     o.Journal,
		log:         o.Logger,
		observer:    o.Observer,
		dnsPort:     "53",
		newProvider: func(c library.HTTPClient) provider { return &library.Provider{HTTPClient: c} },
		live:        make(map[liveKey]int),
	}
	if m.observer == nil {
		m.observer = nobody{}
	}
	if m.timeout == 0 {
		m.timeout = 2 * time.Minute
	}
	if m.interval == 0 {
		m.interval = time.Second
	}
	for _, c := range o.Credentials {
		if err := m.add(c); err != nil {
			return nil, fmt.Errorf("cloudflare: credential %q: %w", c.Name, err)
		}
	}
	return m, nil
}

func (m *Mux) add(c Credential) error {
	switch {
	case c.Name == "":
		return errors.New("a name is required")
	case m.credential(c.Name) != nil:
		return errors.New("the name is used twice")
	case len(c.Zones) == 0:
		return errors.New("a zone is required")
	case c.Source == nil:
		return errors.New("a token source is required")
	case c.Roots == nil:
		return errors.New("roots are required")
	}
	log := m.log.With(zap.String("credential", c.Name))
	api, err := newEndpoint(c, m.resolver, log)
	if err == nil {
		api.observer = m.observer
	}
	if err != nil {
		return err
	}
	added := &credential{
		name:     c.Name,
		keeper:   &keeper{credential: c.Name, source: c.Source, log: log, observer: m.observer},
		endpoint: api,
	}
	for _, zone := range c.Zones {
		zone = canonical(zone)
		if zone == "" {
			return errors.New("a zone is empty")
		}
		if other := m.zones[zone]; other != nil {
			return fmt.Errorf("zone %q belongs to credential %q already", zone, other.name)
		}
		m.zones[zone] = added
		added.zones = append(added.zones, zone)
	}
	m.credentials = append(m.credentials, added)
	return nil
}

// Close drops idle connections to the API. The Mux can be used afterwards.
func (m *Mux) Close() {
	for _, c := range m.credentials {
		c.endpoint.http.CloseIdleConnections()
	}
}

// Format writes "cloudflare.Mux" whatever the verb. What is inside changes while it
// is used, and holds tokens.
func (m *Mux) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("cloudflare.Mux")) }

// Find returns the longest configured zone that holds name, and its credential.
// Case, a trailing dot and a leading "*." do not matter; a zone holds
// itself and whole labels below it only: example.com does not hold
// badexample.com.
func (m *Mux) Find(name string) (zone, credential string, ok bool) {
	zone, c := m.find(name)
	if c == nil {
		return "", "", false
	}
	return zone, c.name, true
}

func (m *Mux) find(name string) (string, *credential) {
	for zone := strings.TrimPrefix(canonical(name), "*."); zone != ""; _, zone, _ = strings.Cut(zone, ".") {
		if c := m.zones[zone]; c != nil {
			return zone, c
		}
	}
	return "", nil
}

// credential returns the credential of that name or nil.
func (m *Mux) credential(name string) *credential {
	for _, c := range m.credentials {
		if c.name == name {
			return c
		}
	}
	return nil
}

// canonical is the form in which names are compared.
func canonical(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// credential is a token source with what is made from its token of the day.
type credential struct {
	name     string
	zones    []string
	keeper   *keeper
	endpoint *endpoint

	mu     sync.Mutex
	token  secret.Text
	access map[string]*access // by zone; made for token

	used    time.Time // when the API was last asked
	failure error     // what came of it
}

// access is one zone as seen with one token. There is one per zone because libdns
// holds a mutex while it looks a zone up, so that with a shared Provider one
// slow lookup would hold up every zone. And there is a new one when the token
// changes because libdns remembers zone ids for ever, and a new token may belong to
// another account.
type access struct {
	zone     string
	client   *client
	provider provider
}

// to reads the token and returns the access to zone that goes with it. Calls under
// way with a previous token go on undisturbed.
func (c *credential) to(m *Mux, zone string) (*access, error) {
	token, err := c.keeper.token()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold(token)
	a := c.access[zone]
	if a == nil {
		a = &access{zone: zone, client: &client{endpoint: c.endpoint, token: token, zone: zone}}
		a.provider = m.newProvider(a.client)
		c.access[zone] = a
	}
	return a, nil
}

// hold makes token the one that everything else is about. c.mu is held.
func (c *credential) hold(token secret.Text) {
	if !c.token.Equal(token) || c.access == nil {
		c.token, c.access = token, make(map[string]*access)
		c.used, c.failure = time.Time{}, nil
	}
}

// looked notes what came of a preflight with token: orders that it keeps from
// being made use the token for nothing else.
func (c *credential) looked(token secret.Text, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold(token)
	c.used, c.failure = time.Now(), err
}

// settle looks at how a call with a went, and forgets a when the API refused it:
// libdns remembers the zone's id for ever, but a zone that was deleted and added
// again has another one. The next attempt asks for it.
func (c *credential) settle(a *access, err error) {
	c.mu.Lock()
	c.used, c.failure = time.Now(), err
	c.mu.Unlock()
	if answer, ok := errors.AsType[*APIError](err); !ok || answer.Temporary() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.access[a.zone] == a {
		delete(c.access, a.zone)
	}
}

// recovered turns a panic into an error in *err. Solver methods run inside
// certmagic's jobs, where a panic would leave the name registered for ever.
// Of a panic's value only a runtime error is shown: anything else might be
// a struct with a token in it.
func recovered(log *zap.Logger, doing string, err *error) {
	value := recover()
	if value == nil {
		return
	}
	text := fmt.Sprintf("value of type %T", value)
	if e, ok := value.(runtime.Error); ok {
		text = e.Error()
	}
	log.Error("panic recovered", zap.String("doing", doing), zap.String("panic", text), zap.Stack("stack"))
	*err = fmt.Errorf("%s: panic: %s", doing, text)
}

// solving returns the zone and the credential for a challenge about name.
func (m *Mux) solving(name string) (string, *credential, error) {
	zone, c := m.find(name)
	if c == nil {
		return "", nil, &noCredentialError{name}
	}
	return zone, c, nil
}

// noCredentialError is a name below no configured zone.
type noCredentialError struct{ name string }

func (e *noCredentialError) Error() string {
	return fmt.Sprintf("name %q is in no zone of any credential", e.name)
}

func (e *noCredentialError) Hint() string {
	return "list its zone under cloudflare, with a token that covers it"
}

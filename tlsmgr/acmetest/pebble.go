package acmetest

import (
	"fmt"
	"log"
	"os"
	"reflect"
	"sync"
	"time"
	"unsafe"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// validationDNSTimeout is how long Pebble waits for each step of a question to the name server.
const validationDNSTimeout = 10 * time.Second

// Where Pebble dials for the challenges that need a web server. Nothing here serves them.
const (
	http01Port    = 5002
	tlsALPN01Port = 5001
)

// environment serialises the writing of the process's environment, which several Worlds share.
var environment sync.Mutex

// pebble is the certificate authority: its store, its parts, and the front end that speaks ACME.
type pebble struct {
	db *db.MemoryStore
	ca *ca.CAImpl
	va *va.VAImpl
	wfe.WebFrontEndImpl
}

// newPebble constructs Pebble. resolver is the host:port that it asks, over TCP, for the records it validates.
func newPebble(logger *log.Logger, validity time.Duration, resolver string) (*pebble, error) {
	environment.Lock()
	defer environment.Unlock()
	for name, value := range map[string]string{
		"PEBBLE_VA_NOSLEEP":      "1", // else it sleeps up to 5 s before each validation
		"PEBBLE_WFE_NONCEREJECT": "0", // else it refuses 5 % of good nonces
		"PEBBLE_AUTHZREUSE":      "0", // else half of the renewals need no challenge; see ACME.spend
	} {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
		defer os.Unsetenv(name)
	}
	p := &pebble{db: db.NewMemoryStore()}
	profiles := map[string]ca.Profile{"default": {
		Description: "The default profile", ValidityPeriod: uint64(validity / time.Second),
	}}
	p.ca = ca.New(logger, p.db, "", "ecdsa", 0, 1, profiles)
	p.va = va.New(logger, http01Port, tlsALPN01Port, false, resolver, p.db)
	p.WebFrontEndImpl = wfe.New(logger, p.db, p.va, p.ca, []string{domain}, false, false, 0, 0)
	return p, p.extendDNSTimeout()
}

// stop ends the goroutine that hands out validations, for which Pebble has no method, as its process ends with it: stop
// closes the queue that the goroutine reads. Nobody may ask Pebble for a validation afterwards.
func (p *pebble) stop() error {
	queue, err := p.validatorField("tasks", reflect.Chan)
	if err != nil {
		return err
	}
	queue.Close()
	return nil
}

// extendDNSTimeout gives the answers to Pebble's questions more time than the DNS library's two seconds, which a busy
// machine with a few dozen orders in parallel does exceed.
func (p *pebble) extendDNSTimeout() error {
	client, err := p.validatorField("dnsClient", reflect.Pointer)
	if err != nil {
		return err
	}
	client.Interface().(*dns.Client).Timeout = validationDNSTimeout
	return nil
}

// validatorField returns an unexported field of the validator. There is no other way to what the callers do; an upgrade
// of Pebble that renames a field fails every test that starts a World.
func (p *pebble) validatorField(name string, kind reflect.Kind) (reflect.Value, error) {
	field := reflect.ValueOf(p.va).Elem().FieldByName(name)
	if field.Kind() != kind {
		return reflect.Value{}, fmt.Errorf("acmetest: pebble's validator has no %s named %q any more", kind, name)
	}
	return reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem(), nil
}

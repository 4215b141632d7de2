package survey

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	callTimeout  = 15 * time.Second // one look at the CA
	mostAnswer   = 1 << 20          // bytes of a directory
	queryTimeout = 5 * time.Second  // one question to one DNS server
	systemConfig = "/etc/resolv.conf"
)

// Options say what to ask.
type Options struct {
	// Resolver resolves the CA's name; required.
	Resolver *net.Resolver

	// Servers are recursive DNS servers (host:port), asked in turn until one
	// answers. Empty: those of /etc/resolv.conf.
	Servers []string

	// Roots are those that the CA's own certificate must lead to; required.
	Roots *x509.CertPool
}

// Survey is what asks. It is safe for concurrent use.
type Survey struct {
	options Options
	client  *http.Client
}

// New makes a survey. It contacts nothing.
func New(o Options) *Survey {
	dialer := &net.Dialer{Timeout: callTimeout, Resolver: o.Resolver}
	return &Survey{o, &http.Client{
		Timeout: callTimeout,
		Transport: &http.Transport{
			Proxy:             func(*http.Request) (*url.URL, error) { return nil, nil },
			DialContext:       dialer.DialContext,
			TLSClientConfig:   &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true,
		},
	}}
}

// Directory is what a CA says of itself (RFC 8555 section 7.1.1).
type Directory struct {
	// Date is the CA's clock when it answered, to the second; zero if it did
	// not say. Asked and Answered are ours around it.
	Date, Asked, Answered time.Time

	// CAAIdentities are the names by which CAA records mean this CA; it need
	// not say.
	CAAIdentities []string

	// ExternalAccountRequired says that it wants `acme.eab`.
	ExternalAccountRequired bool

	// Profiles are those that it has, nil if it has none.
	Profiles []string
}

// Skew is how far our clock is ahead of the CA's, negative if behind. What the
// way and the precision of a second explain is none: 0.
func (d Directory) Skew() time.Duration {
	switch {
	case d.Date.IsZero():
		return 0
	case d.Asked.After(d.Date.Add(time.Second)):
		return d.Asked.Sub(d.Date)
	case d.Answered.Before(d.Date):
		return d.Answered.Sub(d.Date)
	}
	return 0
}

// Directory asks a CA for its directory.
func (s *Survey) Directory(ctx context.Context, address string) (d Directory, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return d, err
	}
	req.Header.Set("User-Agent", "sallyport")
	d.Asked = time.Now()
	resp, err := s.client.Do(req)
	if err != nil {
		if outer, ok := err.(*url.Error); ok {
			err = outer.Err // it repeats the address
		}
		return d, err
	}
	defer resp.Body.Close()
	d.Answered = time.Now()
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		d.Date = date
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return d, err
	}
	if resp.StatusCode != http.StatusOK {
		return d, fmt.Errorf("status %d", resp.StatusCode)
	}
	var directory struct {
		NewOrder string `json:"newOrder"`
		Meta     struct {
			CAAIdentities           []string          `json:"caaIdentities"`
			ExternalAccountRequired bool              `json:"externalAccountRequired"`
			Profiles                map[string]string `json:"profiles"`
		} `json:"meta"`
	}
	if err := json.Unmarshal(body, &directory); err != nil || directory.NewOrder == "" {
		return d, fmt.Errorf("the answer is not an ACME directory")
	}
	d.CAAIdentities, d.ExternalAccountRequired = directory.Meta.CAAIdentities, directory.Meta.ExternalAccountRequired
	for name := range directory.Meta.Profiles {
		d.Profiles = append(d.Profiles, name)
	}
	slices.Sort(d.Profiles)
	return d, nil
}

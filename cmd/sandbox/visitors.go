package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Pauses between visits: of one who waits for something to change, and of the
// visitors that keep coming.
const (
	retryPause   = 100 * time.Millisecond
	visitorPause = 20 * time.Millisecond
)

// sight is what one visit saw.
type sight struct {
	body        string
	certificate *x509.Certificate
}

// look fetches url once.
func look(ctx context.Context, client *http.Client, url string) (sight, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return sight{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return sight{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return sight{}, err
	}
	if response.StatusCode != http.StatusOK {
		return sight{}, fmt.Errorf("%s: %s", url, response.Status)
	}
	return sight{body: string(body), certificate: response.TLS.PeerCertificates[0]}, nil
}

// visit looks at a site until it answers, or ctx ends.
func (s *story) visit(ctx context.Context, name string) (sight, error) {
	return s.visitUntil(ctx, name, func(sight) bool { return true })
}

// visitUntil looks at a site until it answers and the answer is as wanted.
func (s *story) visitUntil(ctx context.Context, name string, wanted func(sight) bool) (sight, error) {
	client := s.client()
	for {
		seen, err := look(ctx, client, s.url(name))
		if err == nil && wanted(seen) {
			return seen, nil
		}
		select {
		case <-time.After(retryPause):
		case <-s.process.ended:
			return sight{}, fmt.Errorf("sallyport ended: %w", s.process.err)
		case <-ctx.Done():
			return sight{}, errors.Join(fmt.Errorf("%s: not seen in time", name), err)
		}
	}
}

// awaitRenewal waits until a site's certificate is another one than now and
// returns both serial numbers.
func (s *story) awaitRenewal(ctx context.Context, name string) (before, after string, err error) {
	now, err := s.visit(ctx, name)
	if err != nil {
		return "", "", err
	}
	next, err := s.visitUntil(ctx, name, func(seen sight) bool {
		return seen.certificate.SerialNumber.Cmp(now.certificate.SerialNumber) != 0
	})
	if err != nil {
		return "", "", err
	}
	return short(now), short(next), nil
}

// short is the end of a serial number: enough to tell two apart.
func short(seen sight) string {
	serial := fmt.Sprintf("%x", seen.certificate.SerialNumber)
	return "…" + serial[max(0, len(serial)-6):]
}

// visitors keep coming, one after the other, until they are told to stop.
type visitors struct {
	cancel context.CancelFunc
	gone   sync.WaitGroup

	mu              sync.Mutex
	total, failures int
	first           error // the first failure
}

func welcome(client *http.Client, url string) *visitors {
	ctx, cancel := context.WithCancel(context.Background())
	v := &visitors{cancel: cancel}
	v.gone.Go(func() {
		for ctx.Err() == nil {
			_, err := look(ctx, client, url)
			if ctx.Err() == nil {
				v.note(err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(visitorPause):
			}
		}
	})
	return v
}

func (v *visitors) note(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.total++
	if err != nil {
		v.failures++
		if v.first == nil {
			v.first = err
		}
	}
}

func (v *visitors) count() (total, failures int, first error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.total, v.failures, v.first
}

func (v *visitors) stop() {
	v.cancel()
	v.gone.Wait()
}

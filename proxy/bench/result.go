package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/sallyport/sallyport/proxy/bench/account"
)

// result is what a run of the bench came to, as --json keeps it.
type result struct {
	Date     time.Time         `json:"date"`
	Complete bool              `json:"complete"` // false if it was interrupted
	Machine  account.Machine   `json:"machine"`
	Versions map[string]string `json:"versions"` // of the proxies, the generators and Go
	Rounds   int               `json:"rounds"`
	Seconds  int               `json:"seconds"` // of load for each figure
	Workers  int               `json:"workers"`
	Pool     int               `json:"pool"`
	Proxies  []string          `json:"proxies"`
	Cases    []caseResult      `json:"cases"`
}

// caseResult is one workload's figures.
type caseResult struct {
	Name        string    `json:"name"`
	Title       string    `json:"title"`
	Unit        string    `json:"unit"`      // what one request is
	Generator   string    `json:"generator"` // wrk, h2load or builtin
	Connections int       `json:"connections"`
	Streams     int       `json:"streams,omitempty"`
	Figures     []figures `json:"figures"` // in the order of Proxies
}

// figures are what one proxy did in one case. All but Proxy and Failure are
// missing if it failed.
type figures struct {
	Proxy    string         `json:"proxy"`
	Failure  string         `json:"failure,omitempty"`
	CPU      *spread        `json:"cpu_us,omitempty"`    // processor time per request, microseconds
	Ratio    *spread        `json:"cpu_ratio,omitempty"` // to nginx in the same round
	Rate     *spread        `json:"requests_per_s,omitempty"`
	P50      *spread        `json:"p50_ms,omitempty"`
	P99      *spread        `json:"p99_ms,omitempty"`
	PerIdle  *spread        `json:"kib_per_idle,omitempty"`   // KiB of PSS per idle connection
	Others   *spread        `json:"others,omitempty"`         // share of the processors used outside of the bench
	PeakPSS  int64          `json:"peak_pss_bytes,omitempty"` // seen five times a second under load
	PeakRSS  int64          `json:"peak_rss_bytes,omitempty"` // the kernel's own peak, summed over processes
	Requests float64        `json:"requests,omitempty"`       // of all rounds
	Failed   map[string]int `json:"failed,omitempty"`         // of all rounds, by reason
}

// save writes the result to a file, in one step.
func (r *result) save(file string) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", append(content, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// loadResult reads a result that save has written.
func loadResult(file string) (*result, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r result
	if err := json.Unmarshal(content, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &r, nil
}

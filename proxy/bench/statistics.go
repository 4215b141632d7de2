package main

import "slices"

// spread is what several rounds came to.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf summarises values; nil if there are none.
func spreadOf(values []float64) *spread {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	s := &spread{Median: sorted[middle], Min: sorted[0], Max: sorted[len(sorted)-1]}
	if len(sorted)%2 == 0 {
		s.Median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return s
}

// collect summarises one figure of each trial.
func collect(trials []trial, figure func(trial) float64) *spread {
	values := make([]float64, len(trials))
	for i, t := range trials {
		values[i] = figure(t)
	}
	return spreadOf(values)
}

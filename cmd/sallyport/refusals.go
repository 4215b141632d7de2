package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/proxy/listen"
)

// refusals is a collector of what the listeners refused before any site could
// answer.
type refusals struct {
	listeners *listen.Server
	refused   *prometheus.Desc
}

func newRefusals(listeners *listen.Server) *refusals {
	return &refusals{listeners, prometheus.NewDesc("sallyport_refused_total",
		"Requests and connections refused or cut before any site had seen them, by protocol (tcp: whole connections) and reason.",
		[]string{"protocol", "reason"}, nil)}
}

// Describe implements [prometheus.Collector].
func (r *refusals) Describe(to chan<- *prometheus.Desc) { to <- r.refused }

// Collect implements [prometheus.Collector].
func (r *refusals) Collect(to chan<- prometheus.Metric) {
	for _, one := range r.listeners.Counts().Refused {
		to <- prometheus.MustNewConstMetric(r.refused, prometheus.CounterValue, float64(one.Count), one.Protocol, one.Reason)
	}
}

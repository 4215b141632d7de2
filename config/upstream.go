package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// The first words of Upstream.Balance that name a key to go by.
const (
	BalanceIPHash = "ip_hash"
	BalanceHeader = "header"
	BalanceCookie = "cookie"
)

// balanceWords are the values of Upstream.Balance that stand alone.
var balanceWords = [...]string{"round_robin", "random_two", "least_conn", BalanceIPHash}

// BalanceBy returns Balance taken apart: the word, and what follows the colon
// of header:NAME and cookie:NAME.
func (u Upstream) BalanceBy() (word, name string) {
	word, name, _ = strings.Cut(u.Balance, ":")
	return word, name
}

// StatusRange returns the least and the greatest good status; 0, 0 if Status
// is not one.
func (h Health) StatusRange() (least, greatest int) {
	first, last, isRange := strings.Cut(h.Status, "-")
	if !isRange {
		last = first
	}
	least, err := strconv.Atoi(first)
	greatest, also := strconv.Atoi(last)
	if err != nil || also != nil || least < 100 || greatest > 599 || least > greatest {
		return 0, 0
	}
	return least, greatest
}

// Upstream returns the upstream that a site's proxy leads to: the one of that
// name, or one of the server of that address with every other key as by
// default.
func (c *Config) Upstream(proxy string) Upstream {
	if i := c.upstream(proxy); i >= 0 {
		return c.Upstreams[i]
	}
	u := c.blank
	if u.Servers == nil { // a Config that was not read
		u = new(decoder).blankUpstream()
	}
	u.Servers = slices.Clone(u.Servers)
	u.Servers[0].URL = proxy
	return u
}

// upstream returns the index of the upstream of a name, -1 for none.
func (c *Config) upstream(name string) int {
	for i := range c.Upstreams { // an Upstream is large, and this is asked for every route
		if c.Upstreams[i].Name == name {
			return i
		}
	}
	return -1
}

// blankUpstream returns an upstream of one server with every key as by default.
func (d *decoder) blankUpstream() Upstream {
	u := Upstream{Servers: make([]Server, 1)}
	d.fill(reflect.ValueOf(&u.Servers[0]).Elem())
	servers := u.Servers
	d.fill(reflect.ValueOf(&u).Elem())
	u.Servers = servers
	u.Retries.complete()
	return u
}

// complete gives the list that is left out its default. One that is empty says
// that nothing is to be tried again.
func (r *Retries) complete() {
	if r.On == nil {
		r.On = []string{"closed"}
	}
}

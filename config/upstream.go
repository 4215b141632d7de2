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
	if i := slices.IndexFunc(c.Upstreams, func(u Upstream) bool { return u.Name == proxy }); i >= 0 {
		return c.Upstreams[i]
	}
	u := Upstream{Servers: make([]Server, 1)}
	d := &decoder{}
	d.fill(reflect.ValueOf(&u).Elem())
	u.Retries.complete()
	d.fill(reflect.ValueOf(&u.Servers[0]).Elem())
	u.Servers[0].URL = proxy
	return u
}

// complete gives the list that is left out its default. One that is empty says
// that nothing is to be tried again.
func (r *Retries) complete() {
	if r.On == nil {
		r.On = []string{"closed"}
	}
}

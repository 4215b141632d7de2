package config

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// normalName returns a host name in the one form in which names are compared:
// lower case, ASCII (xn--). A wildcard stands for exactly one label and is the
// whole leftmost one. An IP address is a name too, in its canonical form.
func normalName(text string) (name string, wrong *fault) {
	name = strings.ToLower(text)
	if wrong := notAName(name); wrong != nil {
		return "", wrong
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		if ip.Zone() != "" {
			return "", &fault{"is an IP address with a zone", "write it without what follows the %"}
		}
		return ip.Unmap().String(), nil
	}
	base, wild := strings.CutPrefix(name, "*.")
	if strings.Contains(base, "*") {
		return "", &fault{"has a * that is not its whole first label", "a wildcard is written \"*.example.com\" and stands for one label"}
	}
	ascii, err := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false)).ToASCII(base)
	if err != nil {
		return "", &fault{"is not a host name", "letters, digits and hyphens, in parts separated by dots"}
	}
	if wrong := badLabels(ascii); wrong != nil {
		return "", wrong
	}
	if wild {
		return "*." + ascii, nil
	}
	return ascii, nil
}

// notAName recognises what people write where a host name is wanted.
func notAName(name string) *fault {
	switch {
	case name == "":
		return &fault{"has no name", ""}
	case strings.Contains(name, "://"):
		return &fault{"has a scheme", "write the host name alone: app.example.com"}
	case strings.Contains(name, "/"):
		return &fault{"has a path", "write the host name alone: app.example.com"}
	case strings.Contains(name, "@"):
		return &fault{"has an @", "write the host name alone: app.example.com"}
	case strings.HasPrefix(name, "["):
		return &fault{"is in brackets", "write an IPv6 address without them, in quotes"}
	case name == "*":
		return &fault{"stands for every name", "name the domain: \"*.example.com\""}
	case strings.HasSuffix(name, "."):
		return &fault{"ends with a dot", "remove it"}
	}
	if host, port, ok := strings.Cut(name, ":"); ok && isDigits(port) && !strings.Contains(host, ":") {
		return &fault{"has a port", "ports are set by listen; write the name without \":" + port + "\""}
	}
	return nil
}

// badLabels checks an ASCII name against RFC 1035 section 2.3.4 and the letters
// of host names; underscores are let through, because names in containers have
// them.
func badLabels(name string) *fault {
	if len(name) > 253 {
		return &fault{"is longer than 253 characters", ""}
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return &fault{"has an empty part", "remove the extra dot"}
		case len(label) > 63:
			return &fault{"has a part longer than 63 characters", ""}
		case strings.HasPrefix(label, "-"), strings.HasSuffix(label, "-"):
			return &fault{"has a part that begins or ends with a hyphen", ""}
		case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
			return &fault{"is not a host name", "letters, digits and hyphens, in parts separated by dots"}
		}
	}
	if isDigits(name[strings.LastIndexByte(name, '.')+1:]) {
		return &fault{"ends in a number, but is not an IP address", ""}
	}
	return nil
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// isIP reports whether a name is an IP address.
func isIP(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// under reports whether a name, wildcard or not, is a domain or below it.
func under(name, domain string) bool {
	name = strings.TrimPrefix(name, "*.")
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// IssuerOf returns who signs the certificate for one of the site's names:
// IssuerFile where certificate files are given, the issuer that the file asks
// for, or else IssuerInternal for localhost and the names under it and
// IssuerACME for all others.
func (s Site) IssuerOf(name string) Issuer {
	switch {
	case s.TLS.Certificate != "" || s.TLS.Key != "":
		return IssuerFile
	case s.TLS.Issuer != "":
		return s.TLS.Issuer
	case under(name, "localhost"):
		return IssuerInternal
	default:
		return IssuerACME
	}
}

// Names returns the site's name and its aliases.
func (s Site) Names() []string { return append([]string{s.Name}, s.Aliases...) }

// Path returns the site's path, as used in Problem: "sites[app.example.com]".
func (s Site) Path() string { return "sites[" + s.Name + "]" }

// Nearest returns the name of a site or an alias that somebody who wrote
// another name may have meant, "" for none.
func (c *Config) Nearest(name string) string {
	var names []string
	for i := range c.Sites {
		names = append(names, c.Sites[i].Names()...)
	}
	near, _ := nearest(strings.ToLower(name), names)
	return near
}

package config

// fastestMinRate is the min_rate above which honest clients on a slow mobile
// network are in danger.
const fastestMinRate = 16 << 10

// limits checks what the least value of each limit by itself does not tell.
func (v *validator) limits() {
	l := &v.cfg.Limits
	if v.src.has("limits.min_rate") && l.MinRate > fastestMinRate {
		v.warn("limits.min_rate", "limits.min_rate is more than 16KiB a second, which honest clients on slow networks cannot keep up",
			"it is meant against attackers, who do with a few bytes: 512 is the default")
	}
	if v.src.has("limits.connections_per_address") && l.ConnectionsPerAddress > l.Connections {
		v.warn("limits.connections_per_address", "limits.connections_per_address has no effect: it is more than limits.connections",
			"lower it, raise limits.connections, or write 0 for no limit for each address")
	}
	if v.cfg.Runtime.Pressure > 100 {
		v.fail("runtime.pressure", "runtime.pressure is a percentage: 100 is the most", "85 is the default")
	}
}

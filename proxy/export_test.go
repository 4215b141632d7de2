package proxy

// Stages are the names of a route's concerns, in their order.
func Stages() []string {
	var names []string
	for _, each := range stages() {
		names = append(names, each.name)
	}
	return names
}

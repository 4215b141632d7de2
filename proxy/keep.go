package proxy

// kept holds what lives longer than a generation: limiters, caches, users
// files. Its keys are made of exactly the options that shape a value, so that
// it stays what it is until one of them changes. Values that have something to
// end have a method Close, which is called when the generation that took over
// has no use for them; requests under way may still use them then. Those that
// have memory to give have a method Relieve, which is called while it is short, and
// those that begin something a method Start, which is called by Commit.
type kept map[any]any

// keep returns what is kept under a key: by the generation that is being built,
// by the current one, or made now. make must start nothing, since a generation
// may be dropped before it is committed. A key has to be of a type of its own,
// such as the Options of what it is for.
func keep[K comparable, V any](p *Proxy, next *Generation, key K, make func() (V, error)) (V, error) {
	if have, ok := next.kept[key].(V); ok {
		return have, nil
	}
	if current := p.current.Load(); current != nil {
		if have, ok := current.kept[key].(V); ok {
			next.kept[key] = have
			return have, nil
		}
	}
	made, err := make()
	if err != nil {
		return made, err
	}
	next.kept[key] = made
	return made, nil
}

// start starts what has something to start, each time that a generation which
// holds it is committed.
func (k kept) start() {
	for _, value := range k {
		if starts, ok := value.(interface{ Start() }); ok {
			starts.Start()
		}
	}
}

// retire closes what the next generation does not hold.
func (k kept) retire(next kept) {
	for key, value := range k {
		if held, ok := next[key]; ok && held == value {
			continue
		}
		if ends, ok := value.(interface{ Close() }); ok {
			ends.Close()
		}
	}
}

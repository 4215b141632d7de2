package limit

import (
	"sync"
	"unsafe"
)

// A table remembers a time for each of many keys in bounded memory. It is cut
// into shards, each with a lock, so that processors seldom wait for one
// another; a shard is an array of sets of a few slots, so that a look-up reads
// one or two cache lines, and the garbage collector sees no pointer in it.
//
// A shard doubles when a set of it is full, until it has its share of the
// slots. From then on a full set forgets: first a key whose time has passed,
// for which nothing is lost, or else the one whose time is the nearest. In
// terms of a rate limit that is the one that used least, so who is over the
// limit is forgotten last, however many new keys a flood brings.
type table struct {
	shards [shardCount]shard
	most   int // slots that a shard may have
}

const (
	shardCount = 64
	setSize    = 8
	// slotBytes is what one key costs.
	slotBytes = int(unsafe.Sizeof(slot{}))
)

type shard struct {
	mu    sync.Mutex
	slots []slot // a power of two times setSize
}

// slot is free while its time is zero.
type slot struct {
	key  uint64
	time int64
}

// newTable returns a table for about so many keys, rounded up to a power of
// two. It allocates nothing yet.
func newTable(keys int) *table {
	most := setSize
	for most*shardCount < keys {
		most *= 2
	}
	return &table{most: most}
}

// bytes is the most memory that the table takes: its slots, and while a shard
// doubles for the last time, half of that shard's again.
func (t *table) bytes() int {
	return shardCount*t.most*slotBytes + t.most/2*slotBytes + int(unsafe.Sizeof(*t))
}

// update calls change with the time of a key, zero if there is none, and keeps
// what it returns. now is the present: times before it are as good as none.
func (t *table) update(key uint64, now int64, change func(time int64) int64) {
	s := &t.shards[key%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		s.slots = make([]slot, setSize)
	}
	at := s.find(key, now)
	for at == nil {
		if len(s.slots) < t.most {
			s.grow(now)
			at = s.find(key, now)
			continue
		}
		at = s.forget(key)
	}
	if at.key != key || at.time <= now {
		at.key, at.time = key, 0
	}
	at.time = change(at.time)
}

// set returns the slots that a key may be in. The bits that chose the shard
// take no part.
func (s *shard) set(key uint64) []slot {
	first := int(key>>16) & (len(s.slots)/setSize - 1) * setSize
	return s.slots[first : first+setSize : first+setSize]
}

// find returns a key's slot, or one that it may have, or nil.
func (s *shard) find(key uint64, now int64) *slot {
	var free *slot
	set := s.set(key)
	for i := range set {
		switch at := &set[i]; {
		case at.key == key && at.time != 0:
			return at
		case free == nil && at.time <= now:
			free = at
		}
	}
	return free
}

// grow doubles the slots, leaving out those whose time has passed.
func (s *shard) grow(now int64) {
	old := s.slots
	s.slots = make([]slot, 2*len(old))
	for _, entry := range old {
		if entry.time > now {
			*s.find(entry.key, now) = entry // half the keys of one set: there is room
		}
	}
}

// forget returns the slot of a key's set whose time is the nearest.
func (s *shard) forget(key uint64) *slot {
	set := s.set(key)
	at := &set[0]
	for i := range set {
		if set[i].time < at.time {
			at = &set[i]
		}
	}
	return at
}

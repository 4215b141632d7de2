package balance

import "math/bits"

// Most is how many servers one upstream can have: a [Set] is a value, so that
// picking needs no memory.
const Most = 256

// Set is a set of node indexes.
type Set [Most / 64]uint64

// All returns the set of the first n indexes.
func All(n int) Set {
	var s Set
	for i := range n {
		s.Add(i)
	}
	return s
}

// Add puts i in.
func (s *Set) Add(i int) { s[i/64] |= 1 << (i % 64) }

// Remove takes i out.
func (s *Set) Remove(i int) { s[i/64] &^= 1 << (i % 64) }

// Has reports whether i is in.
func (s *Set) Has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// Empty reports whether nothing is in.
func (s *Set) Empty() bool { return *s == Set{} }

// Len is the number of indexes.
func (s *Set) Len() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// each yields the indexes in order.
func (s *Set) each(yield func(int) bool) {
	for w, word := range s {
		for ; word != 0; word &= word - 1 {
			if !yield(64*w + bits.TrailingZeros64(word)) {
				return
			}
		}
	}
}

package config

import (
	"strings"
	"unicode/utf8"
)

// distance returns how many slips of the finger lie between two texts: letters
// added, left out, replaced, or swapped with their neighbour.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	if len(s) > 64 || len(t) > 64 {
		return 64 // never a near miss, and not worth the time
	}
	var rows [3][65]int // on the stack: this is asked a hundred times for each key
	before, previous, current := &rows[0], &rows[1], &rows[2]
	for j := range len(t) + 1 {
		current[j] = j
	}
	for i := 1; i <= len(s); i++ {
		before, previous, current = previous, current, before
		current[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
	}
	return current[len(t)]
}

// near reports whether two texts are at most limit slips apart. Most are told
// apart by their lengths, which matters in files of thousands of keys.
func near(a, b string, limit int) bool {
	if gap := utf8.RuneCountInString(a) - utf8.RuneCountInString(b); gap > limit || -gap > limit {
		return false
	}
	return a == b || limit > 0 && distance(a, b) <= limit
}

// nearest returns the candidate closest to a word, if it is close enough to be
// what was meant: one slip in a short word, one in three letters in a long one;
// or else the only one of which the word is a beginning, or which is a
// beginning of the word.
func nearest(word string, candidates []string) (string, bool) {
	best, limit := "", max(1, min(3, len(word)/3))
	for _, candidate := range candidates {
		if d := distance(word, candidate); d <= limit {
			best, limit = candidate, d-1
		}
	}
	if best != "" || len(word) < 3 {
		return best, best != ""
	}
	for _, candidate := range candidates {
		if len(candidate) < 3 || !strings.HasPrefix(word, candidate) && !strings.HasPrefix(candidate, word) {
			continue
		}
		if best != "" {
			return "", false
		}
		best = candidate
	}
	return best, best != ""
}

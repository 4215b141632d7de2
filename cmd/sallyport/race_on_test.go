//go:build race

package main

// raced says that the race detector is at work, which takes five to ten times
// the memory and the time.
const raced = true

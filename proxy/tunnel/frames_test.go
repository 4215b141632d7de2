package tunnel

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// frame is one of a WebSocket, with size bytes of payload.
func frame(opcode byte, masked bool, size int) []byte {
	f := []byte{opcode}
	var mask byte
	if masked {
		mask = 0x80
	}
	switch {
	case size < 126:
		f = append(f, mask|byte(size))
	case size < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, mask|126), uint16(size))
	default:
		f = binary.BigEndian.AppendUint64(append(f, mask|127), uint64(size))
	}
	if masked {
		f = append(f, 1, 2, 3, 4)
	}
	return append(f, bytes.Repeat([]byte{0x88}, size)...)
}

// boundaries follows text in pieces of the given sizes, over and over, and
// returns where a frame could be put in.
func boundaries(text []byte, sizes []byte) []int {
	var f frames
	var at []int
	if f.between() {
		at = append(at, 0)
	}
	for done, i := 0, 0; done < len(text); i++ {
		size := len(text) - done
		if len(sizes) > 0 {
			size = min(size, int(sizes[i%len(sizes)])+1)
		}
		for piece := text[done : done+size]; len(piece) > 0; {
			n := f.next(piece)
			piece, done = piece[n:], done+n
			if f.between() {
				at = append(at, done)
			}
		}
	}
	return at
}

func TestFramesEndWhereTheyEnd(t *testing.T) {
	var text []byte
	want := []int{0}
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000, 0} {
		for _, masked := range []bool{false, true} {
			text = append(text, frame(0x82, masked, size)...)
			want = append(want, len(text))
		}
	}
	for _, sizes := range [][]byte{nil, {0}, {1}, {0, 254, 3}} {
		if got := boundaries(text, sizes); !slices.Equal(got, want) {
			t.Errorf("in pieces of %v: %v, want %v", sizes, got, want)
		}
	}
}

func TestNothingFollowsACloseFrame(t *testing.T) {
	text := slices.Concat(frame(0x81, true, 3), frame(0x88, true, 2), frame(0x81, true, 3))
	if got := boundaries(text, nil); !slices.Equal(got, []int{0, 9}) {
		t.Errorf("%v", got)
	}
}

func TestAFrameOfImpossibleLengthIsNotFollowed(t *testing.T) {
	text := append([]byte{0x82, 127, 0x80}, make([]byte, 20)...)
	if got := boundaries(text, []byte{0}); !slices.Equal(got, []int{0}) {
		t.Errorf("%v", got)
	}
}

// However the same bytes are cut, frames end at the same places, and our own
// close frame is one whole frame.
func FuzzFrames(f *testing.F) {
	f.Add(frame(0x81, false, 5), []byte{0})
	f.Add(slices.Concat(frame(0x02, true, 200), frame(0x89, true, 0), frame(0x80, true, 66000)), []byte{7, 0, 255})
	f.Add(slices.Concat(frame(0x81, true, 3), frame(0x88, true, 2), []byte("more")), []byte{1})
	f.Add([]byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2}, []byte{2})
	f.Add([]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2}, []byte{3})
	f.Add(closeFrame(false), []byte{0})
	f.Add(closeFrame(true), []byte{0})
	f.Fuzz(func(t *testing.T, text, sizes []byte) {
		whole := boundaries(text, nil)
		if cut := boundaries(text, sizes); !slices.Equal(cut, whole) {
			t.Fatalf("in pieces of %v: %v, want %v", sizes, cut, whole)
		}
		if one := boundaries(text, []byte{0}); !slices.Equal(one, whole) {
			t.Fatalf("byte by byte: %v, want %v", one, whole)
		}
		for _, at := range whole {
			var follower frames
			follower.all(text[:at])
			follower.all(closeFrame(true))
			if !follower.closed || follower.have != 0 {
				t.Fatalf("a close frame at %d is not one", at)
			}
		}
	})
}

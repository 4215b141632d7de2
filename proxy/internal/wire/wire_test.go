package wire

import "testing"

func TestLookalikes(t *testing.T) {
	for name, want := range map[string]bool{
		"Content_length": true, "Transfer_encoding": true, "X_forwarded_for": true, "X-Forwarded_proto": true, "X_Real-Ip": true, "Remote_user": true, "X_request_id": true,
		"Content-Length": false, "X-Forwarded-For": false, "X_own": false, "Content_type": false, "_": false, "X_forwarded": false, "X_forwarded_": false,
		"X_forwarded_for_a_name_that_is_longer_than_all": true,
	} {
		if Lookalike(name) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
}

func TestLengthsCannotOverflow(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "007": 7, "999999999999999999": 999999999999999999, "": -1, "1000000000000000000": -1, "-1": -1, "+1": -1, "1 ": -1, "0x1": -1} {
		if n, ok := ParseLength(text); ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: %d %t", text, n, ok)
		}
	}
	for line, want := range map[string]int64{"0": 0, "a": 10, "A;x=y": 10, "0000000000000001": 1, "400000000000000": 1 << 58, "": -1, ";": -1, "00000000000000001": -1, "ffffffffffffffff": -1, "-1": -1, "1 ": -1, "1;\x00": -1} {
		if n, bad := ChunkSize([]byte(line)); (bad == "") != (want >= 0) || bad == "" && n != want {
			t.Errorf("%q: %d %s", line, n, bad)
		}
	}
}

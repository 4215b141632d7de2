package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// Types of HTTP/3's frames (RFC 9114 section 7.2).
const (
	frame3Data     = 0x0
	frame3Headers  = 0x1
	frame3Cancel   = 0x3
	frame3Settings = 0x4
	frame3Push     = 0x5
	frame3GoAway   = 0x7
	frame3MaxPush  = 0xd
)

// frame3 makes a frame of HTTP/3.
func frame3(kind uint64, payload []byte) []byte {
	b := quicvarint.Append(nil, kind)
	return append(quicvarint.Append(b, uint64(len(payload))), payload...)
}

// section3 makes a HEADERS frame; fields are pairs of name and value.
func section3(fields ...string) []byte {
	var block bytes.Buffer
	encoder := qpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = encoder.WriteField(qpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return frame3(frame3Headers, block.Bytes())
}

// data3 makes a DATA frame.
func data3(content string) []byte { return frame3(frame3Data, []byte(content)) }

// bare3 opens a connection for speaking HTTP/3 by hand.
func (w *world) bare3() *quic.Conn {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	c, err := quic.DialAddr(ctx, w.https, &tls.Config{ServerName: "a.test", RootCAs: w.roots, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	control, err := c.OpenUniStream()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := control.Write(append([]byte{0}, frame3(frame3Settings, nil)...)); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// ask3 sends bytes as a request's stream and says how it ended: a status,
// "reset CODE" or "closed CODE".
func ask3(t *testing.T, c *quic.Conn, request []byte) string {
	t.Helper()
	stream, err := c.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := stream.Write(request); err == nil {
		_ = stream.Close()
	}
	return outcome3(stream)
}

func outcome3(stream *quic.Stream) (status string) {
	r := quicvarint.NewReader(stream)
	for {
		kind, err := quicvarint.Read(r)
		size := uint64(0)
		if err == nil {
			size, err = quicvarint.Read(r)
		}
		payload := make([]byte, size)
		if err == nil {
			_, err = io.ReadFull(r, payload)
		}
		if err == io.EOF && status != "" {
			return status
		}
		if reset, is := errors.AsType[*quic.StreamError](err); is {
			return fmt.Sprint(status, "reset ", http3.ErrCode(reset.ErrorCode))
		}
		if end, is := errors.AsType[*quic.ApplicationError](err); is {
			return fmt.Sprint(status, "closed ", http3.ErrCode(end.ErrorCode))
		}
		if err != nil {
			return fmt.Sprint(status, "?", err)
		}
		if kind != frame3Headers {
			continue
		}
		next := qpack.NewDecoder().Decode(payload)
		for field, err := next(); err == nil; field, err = next() {
			if field.Name == ":status" && field.Value[0] != '1' {
				status = field.Value
			}
		}
	}
}

// bytes3 are the frames of an attack.
func (a streamAttack) bytes3() []byte {
	b := section3(a.fields...)
	for _, piece := range a.body {
		b = append(b, data3(piece)...)
	}
	if a.trail != nil {
		b = append(b, section3(a.trail...)...)
	}
	return b
}

// What a client of HTTP/3 says must not become something else in HTTP/1.1.
func TestHTTP3AttacksJudgedByWhatTheServerSaw(t *testing.T) {
	w := start(t, over3(sites()))
	try := func(name, passes string, request []byte) {
		t.Run(name, func(t *testing.T) {
			tape := newTape(t)
			w.commit(over3(sites("a.test", tape.address)))
			c := w.bare3()
			outcome := ask3(t, c, request)
			_ = c.CloseWithError(0, "")
			w.commit(over3(sites())) // ends the connections to the tape
			judgeStream(t, tape, streamAttack{passes: passes}, outcome)
		})
	}
	for _, a := range streamAttacks() {
		try(a.name, a.passes, a.bytes3())
	}
	for _, a := range frameAttacks3() {
		try(a.name, a.passes, a.bytes)
	}
}

// frameAttack3 is a request's stream over HTTP/3, and what must become of it.
type frameAttack3 struct {
	name   string
	bytes  []byte
	passes string // as in streamAttack
}

// frameAttacks3 are those that have no like in HTTP/2.
func frameAttacks3() []frameAttack3 {
	get, ten := section3(ask()...), section3(post("content-length", "10")...)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	list := []frameAttack3{
		{"control: unknown frames around", join(frame3(0x21, []byte("x")), get, frame3(0x40, []byte("GET /y"))), "GET /x HTTP/1.1"},
		{"control: empty DATA within", join(ten, data3("hello"), data3(""), data3("world")), "Content-Length: 10"},
		{"control: unknown frame within the body", join(ten, data3("hello"), frame3(0x21, []byte("GET /y")), data3("world")), "Content-Length: 10"},
		{"frames: nothing", nil, ""},
		{"frames: DATA first", join(data3("GET /x HTTP/1.1\r\n\r\n"), get), ""},
		{"frames: half of HEADERS", get[:len(get)-3], ""},
		{"frames: HEADERS that says it is longer", join(quicvarint.Append([]byte{1}, uint64(len(get))+40), get[2:]), ""},
		{"frames: HEADERS beyond the limit", join(quicvarint.Append([]byte{1}, 1<<40), get[2:]), ""},
		{"frames: HEADERS without fields", frame3(frame3Headers, []byte{0, 0}), ""},
		{"frames: HEADERS of no bytes", frame3(frame3Headers, nil), ""},
		{"frames: half of DATA", join(ten, data3("helloworld")[:8]), ""},
		{"frames: DATA that says it is longer", join(section3(post()...), []byte{0, 40}, []byte("GET /y HTTP/1.1\r\n\r\n")), ""},
		{"frames: DATA after trailers", join(section3(post("trailer", "x-a")...), data3("a"), section3("x-a", "b"), data3("GET /y")), ""},
		{"frames: trailers twice", join(section3(post("trailer", "x-a")...), data3("a"), section3("x-a", "b"), section3("x-a", "c")), ""},
		{"frames: a second request", join(section3(post()...), data3("a"), section3(ask(":path", "/y")...)), ""},
		{"frames: trailers instead of content", join(ten, section3("x-a", "b")), ""},
		{"QPACK: dynamic table", frame3(frame3Headers, []byte{2, 0, 0x80, 0x10}), ""},
		{"QPACK: no such static entry", frame3(frame3Headers, []byte{0, 0, 0xff, 0x7f}), ""},
		{"QPACK: Huffman code that ends nowhere", frame3(frame3Headers, []byte{0, 0, 0x51, 0x82, 0xff, 0xff}), ""},
		{"QPACK: string beyond the section", frame3(frame3Headers, []byte{0, 0, 0x51, 0x7f, 0xff, 0x01, 'a'}), ""},
		{"QPACK: integer without end", frame3(frame3Headers, append([]byte{0, 0}, bytes.Repeat([]byte{0xff}, 30)...)), ""},
	}
	for name, kind := range map[string]uint64{"SETTINGS": frame3Settings, "GOAWAY": frame3GoAway, "CANCEL_PUSH": frame3Cancel,
		"PUSH_PROMISE": frame3Push, "MAX_PUSH_ID": frame3MaxPush, "HTTP/2's PRIORITY": 0x2, "HTTP/2's PING": 0x6} {
		payload := []byte{0}
		if kind == frame3Settings {
			payload = nil
		}
		list = append(list,
			frameAttack3{"first: " + name, join(frame3(kind, payload), get), ""},
			frameAttack3{"within the body: " + name, join(ten, data3("hello"), frame3(kind, payload), data3("world")), ""})
	}
	return list
}

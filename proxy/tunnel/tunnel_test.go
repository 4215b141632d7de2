package tunnel

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// pair is a tunnel between two pipes, and the far ends of these.
func pair(t *testing.T, set *Set, o Options) (client, server net.Conn, done <-chan struct{}) {
	t.Helper()
	client, ours := net.Pipe()
	theirs, server := net.Pipe()
	one, ok := set.Open(ours, theirs, o)
	if !ok {
		t.Fatal("the set is closed")
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer one.Release()
		one.Copy([]byte("ahead "))
	}()
	return client, server, ended
}

func TestSilenceEndsATunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set Set
		client, server, done := pair(t, &set, Options{Silence: time.Minute})
		go io.WriteString(client, "hello")
		got := make([]byte, len("ahead hello"))
		if _, err := io.ReadFull(server, got); err != nil || string(got) != "ahead hello" {
			t.Fatalf("%q, %v", got, err)
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if set.Count() != 1 {
			t.Error("it ended too early")
		}
		go io.WriteString(server, "!") // the minute begins anew
		if _, err := io.ReadFull(client, got[:1]); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		<-done
		if took := time.Since(begun); took != time.Minute || set.Count() != 0 {
			t.Errorf("after %v of silence, %d left", took, set.Count())
		}
	})
}

func TestAClosedSetTellsBothEndsOfAWebSocketAndOpensNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set Set
		client, server, done := pair(t, &set, Options{WebSocket: true})
		if _, err := io.ReadFull(server, make([]byte, len("ahead "))); err != nil { // no frame, but enough of one to stay in the middle of it
			t.Fatal(err)
		}
		heard := make(chan []byte, 1)
		go func() {
			all, _ := io.ReadAll(client)
			heard <- all
		}()
		begun := time.Now()
		set.SetClosed(true)
		if got := <-heard; !bytes.Equal(got, closeFrame(false)) {
			t.Errorf("the client heard % x", got)
		}
		<-done
		if took := time.Since(begun); took != partingLimit {
			t.Errorf("a server in the middle of a frame got %v", took)
		}
		if _, ok := set.Open(client, server, Options{}); ok {
			t.Error("a tunnel was opened in a closed set")
		}
		set.SetClosed(false)
		again, ok := set.Open(client, server, Options{})
		if !ok || set.Count() != 1 {
			t.Fatal("the set stayed closed")
		}
		again.Release()
	})
}

package tlsmemory_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/sallyport/sallyport/proxy/internal/tlsmemory"
)

func pair(t *testing.T, version uint16) (client, server *tls.Conn) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	client = tls.Client(near, &tls.Config{InsecureSkipVerify: true, MaxVersion: version, DynamicRecordSizingDisabled: true})
	server = tls.Server(far, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	failed := make(chan error, 1)
	go func() { failed <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	return client, server
}

// The fields are those of this version of Go, and a connection works on without
// what it kept. If this fails with a new version, look in crypto/tls for where
// Conn keeps records that it has read.
func TestAConnectionAtRestGivesItsBuffersBackAndWorksOn(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client, server := pair(t, version)
		want := bytes.Repeat([]byte("x"), 16<<10) // a whole record
		got := make([]byte, len(want))
		for round := range 3 {
			go client.Write(want)
			if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("round %d: %v", round, err)
			}
			if !tlsmemory.Release(server) {
				t.Fatalf("TLS %x: nothing was released", version)
			}
		}
	}
}

func TestWhatWasNotReadYetIsKept(t *testing.T) {
	client, server := pair(t, tls.VersionTLS13)
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	var b [5]byte
	if _, err := io.ReadFull(server, b[:1]); err != nil {
		t.Fatal(err)
	}
	if tlsmemory.Release(server) {
		t.Fatal("released with something to read")
	}
	if _, err := io.ReadFull(server, b[1:]); err != nil || string(b[:]) != "hello" {
		t.Fatalf("%q, %v", b, err)
	}
}

// That the fields are found is not enough: the memory must go.
func TestTheMemoryIsFreed(t *testing.T) {
	const n = 50
	var servers []*tls.Conn
	for range n {
		client, server := pair(t, tls.VersionTLS13)
		go client.Write(make([]byte, 16<<10))
		if _, err := io.ReadFull(server, make([]byte, 16<<10)); err != nil {
			t.Fatal(err)
		}
		servers = append(servers, server)
	}
	before := heap()
	for _, s := range servers {
		tlsmemory.Release(s)
	}
	freed := before - heap()
	t.Logf("%d bytes each", freed/n)
	if freed < n*16<<10 {
		t.Errorf("only %d bytes each were freed", freed/n)
	}
	runtime.KeepAlive(servers)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

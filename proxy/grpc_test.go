package proxy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/orca"
	"google.golang.org/grpc/status"
)

// failsBySaying makes the interop client's fatal lines the test's: by itself it
// would end the process.
type failsBySaying struct{ grpclog.LoggerV2 }

type interopFailure string

func (failsBySaying) Fatal(args ...any)            { panic(interopFailure(fmt.Sprint(args...))) }
func (failsBySaying) Fatalln(args ...any)          { panic(interopFailure(fmt.Sprintln(args...))) }
func (failsBySaying) Fatalf(f string, args ...any) { panic(interopFailure(fmt.Sprintf(f, args...))) }

// grpcClient returns a connection through the proxy to a.test.
func (w *world) grpcClient() *grpc.ClientConn {
	w.t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+w.https,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: w.roots, ServerName: "a.test"})),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}`)) // interop's, reads ORCA reports
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { cc.Close() })
	return cc
}

// grpcBackend serves gRPC by cleartext HTTP/2.
func grpcBackend(t *testing.T, register func(*grpc.Server)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(orca.CallMetricsServerOption(nil))
	register(server)
	t.Cleanup(server.Stop)
	go func() { _ = server.Serve(l) }()
	return "h2c://" + l.Addr().String()
}

func TestGRPCInteropClientPassesAllItsCases(t *testing.T) {
	grpclog.SetLoggerV2(failsBySaying{grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)})
	address := grpcBackend(t, func(s *grpc.Server) {
		testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
	})
	w := start(t, sites("a.test", address))
	cc := w.grpcClient()
	client := testgrpc.NewTestServiceClient(cc)
	on := func(do func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)) func(context.Context) {
		return func(ctx context.Context) { do(ctx, client) }
	}
	// Left out are the cases that need credentials of Google's
	// (compute_engine_creds and its like), and those that this server does not
	// play: pick_first_unary wants the id of an xDS server, orca_oob reports
	// more often than a server may be asked for.
	for name, do := range map[string]func(context.Context){
		"empty_unary":                 on(interop.DoEmptyUnaryCall),
		"large_unary":                 on(interop.DoLargeUnaryCall),
		"client_streaming":            on(interop.DoClientStreaming),
		"server_streaming":            on(interop.DoServerStreaming),
		"ping_pong":                   on(interop.DoPingPong),
		"empty_stream":                on(interop.DoEmptyStream),
		"timeout_on_sleeping_server":  on(interop.DoTimeoutOnSleepingServer),
		"cancel_after_begin":          on(interop.DoCancelAfterBegin),
		"cancel_after_first_response": on(interop.DoCancelAfterFirstResponse),
		"custom_metadata":             on(interop.DoCustomMetadata),
		"status_code_and_message":     on(interop.DoStatusCodeAndMessage),
		"special_status_message":      on(interop.DoSpecialStatusMessage),
		"unimplemented_method":        func(ctx context.Context) { interop.DoUnimplementedMethod(ctx, cc) },
		"unimplemented_service": func(ctx context.Context) {
			interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(cc))
		},
		"orca_per_rpc": func(ctx context.Context) { interop.DoORCAPerRPCTest(ctx, client) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if failure, is := recover().(interopFailure); is {
					t.Fatal(string(failure))
				}
			}()
			do(t.Context())
		})
	}
}

// watcher is a gRPC service that tells how its streams end.
type watcher struct {
	testgrpc.UnimplementedTestServiceServer
	began chan struct{}
	ended chan error
}

func (w *watcher) FullDuplexCall(stream testgrpc.TestService_FullDuplexCallServer) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	if err := stream.Send(&testgrpc.StreamingOutputCallResponse{}); err != nil {
		return err
	}
	close(w.began)
	<-stream.Context().Done()
	w.ended <- stream.Context().Err()
	return stream.Context().Err()
}

func TestGRPCCancellationReachesTheServer(t *testing.T) {
	service := &watcher{began: make(chan struct{}), ended: make(chan error, 1)}
	w := start(t, sites("a.test", grpcBackend(t, func(s *grpc.Server) { testgrpc.RegisterTestServiceServer(s, service) })))
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := testgrpc.NewTestServiceClient(w.grpcClient()).FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&testgrpc.StreamingOutputCallRequest{}); err != nil {
		t.Fatal(err)
	}
	// The response's first message arrives while the request's stream is open.
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	wait(t, service.began, "the stream")
	cancel()
	if err := wait(t, service.ended, "the server to hear of it"); !errors.Is(err, context.Canceled) {
		t.Errorf("the server's stream ended with %v", err)
	}
}

func TestGRPCAServerThatIsGoneIsUnavailable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "h2c://" + l.Addr().String()
	l.Close()
	w := start(t, impatient(sites("a.test", address)))
	_, err = testgrpc.NewTestServiceClient(w.grpcClient()).EmptyCall(t.Context(), &testgrpc.Empty{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("%v", err)
	}
}

// h2cBackend is an HTTP/2 server in cleartext behind the proxy.
func h2cBackend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return "h2c://" + s.Listener.Addr().String()
}

func TestAStreamThatTheServerResetsIsResetForTheClient(t *testing.T) {
	w := start(t, sites("a.test", h2cBackend(t, func(rw http.ResponseWriter, _ *http.Request) {
		io.WriteString(rw, "some")
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	})))
	res, err := w.client(true).Get("https://a.test/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("%q looked whole", b)
	}
}

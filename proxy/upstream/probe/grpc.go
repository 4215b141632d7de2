package probe

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// The gRPC health protocol, grpc.health.v1.Health/Check, written by hand: one
// empty message there, one enum back.
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md
const (
	grpcPath    = "/grpc.health.v1.Health/Check"
	grpcServing = 1
	// mostMessage is larger than any answer of two fields.
	mostMessage = 4 << 10
)

// emptyFrame is a HealthCheckRequest without a service, which asks for the
// server as a whole: not compressed, length 0.
const emptyFrame = "\x00\x00\x00\x00\x00"

func checkGRPC(ctx context.Context, to http.RoundTripper, o Options) error {
	req := request(ctx, http.MethodPost, grpcPath, o.Host)
	req.Header["Content-Type"] = []string{"application/grpc"}
	req.Header["Te"] = []string{"trailers"}
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(emptyFrame)), int64(len(emptyFrame))
	res, err := to.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return bad("the gRPC health check got HTTP status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, mostMessage+1))
	if err != nil {
		return fmt.Errorf("reading the answer of the gRPC health check: %w", err)
	}
	if len(body) > mostMessage {
		return errMessage() // before the trailers, which have not come yet
	}
	status := res.Trailer.Get("Grpc-Status")
	if status == "" {
		status = res.Header.Get("Grpc-Status") // an answer of trailers only
	}
	switch status {
	case "0":
	case "":
		return bad("the answer to the gRPC health check has no grpc-status: is this a gRPC server?")
	case "12":
		return bad("the server does not implement grpc.health.v1.Health")
	default:
		return bad("the gRPC health check failed with grpc-status %s", status)
	}
	serving, err := servingStatus(body)
	if err != nil {
		return err
	}
	if serving != grpcServing {
		return bad("the server says that it is not serving (status %d)", serving)
	}
	return nil
}

// servingStatus reads a frame with a HealthCheckResponse: field 1 is the
// status. Other fields are skipped, as protocol buffers want it.
func servingStatus(frame []byte) (uint64, error) {
	if len(frame) < 5 || frame[0] != 0 || int(binary.BigEndian.Uint32(frame[1:5])) != len(frame)-5 {
		return 0, errMessage()
	}
	message, status := frame[5:], uint64(0)
	varint := func() (uint64, bool) {
		value, n := binary.Uvarint(message)
		if n <= 0 {
			return 0, false
		}
		message = message[n:]
		return value, true
	}
	for len(message) > 0 {
		tag, ok := varint()
		if !ok {
			return 0, errMessage()
		}
		skip := uint64(0)
		switch tag & 7 {
		case 0:
			value, good := varint()
			if ok = good; tag>>3 == 1 {
				status = value
			}
		case 1:
			skip = 8
		case 2:
			skip, ok = varint()
		case 5:
			skip = 4
		default:
			ok = false
		}
		if !ok || skip > uint64(len(message)) {
			return 0, errMessage()
		}
		message = message[skip:]
	}
	return status, nil
}

func errMessage() error {
	return bad("the answer to the gRPC health check is not a HealthCheckResponse")
}

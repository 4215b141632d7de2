package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Between two attempts to send a batch: what the collector asks for, or else
// twice as long each time. Meanwhile spans wait in the queue, or are dropped.
const (
	mostAttempts = 6
	firstPause   = time.Second
	leastPause   = 100 * time.Millisecond
	mostPause    = 5 * time.Minute
)

// mostNote bounds what of a collector's words is told, in bytes.
const mostNote = 256

// deliver sends a batch, in pieces if it is too large, and counts what became of
// it. Once ctx has ended it does not wait before another attempt; sending ends
// what is under way.
func (e *Exporter) deliver(ctx, sending context.Context, batch []*finished) {
	body, err := proto.Marshal(message(e.options.Service, batch))
	if err == nil && len(body) > mostBytes && len(batch) > 1 {
		half := len(batch) / 2
		e.deliver(ctx, sending, batch[:half])
		e.deliver(ctx, sending, batch[half:])
		return
	}
	if err == nil {
		err = e.send(ctx, sending, squeeze(body))
	}
	lost := len(batch)
	if err == nil {
		lost = 0
	} else if partial, ok := errors.AsType[*Partial](err); ok {
		partial.Of = len(batch)
		partial.Refused = min(partial.Refused, lost)
		lost = partial.Refused
	}
	e.links.Counts.Dropped.Add(uint64(lost))
	e.links.Counts.Sent.Add(uint64(len(batch) - lost))
	e.teller.tell(err)
}

// send posts a body until the collector takes it, or it is not worth another
// attempt.
func (e *Exporter) send(ctx, sending context.Context, body []byte) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := e.post(sending, body)
		bad, failed := errors.AsType[*Error](err)
		if !failed || !bad.again || attempt == mostAttempts || ctx.Err() != nil {
			return err
		}
		if attempt > 1 { // once is not worth a line
			e.teller.tell(err)
		}
		wait := pause + time.Duration((rand.Float64()*2-1)*float64(pause)/5)
		pause *= 2
		if bad.after >= 0 {
			wait = min(max(bad.after, leastPause), mostPause)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop() // now or never
		}
	}
}

// post sends a body once. The error is an *[Error], or a *[Partial] if the
// collector has taken it.
func (e *Exporter) post(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, e.options.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.options.Endpoint, bytes.NewReader(body))
	if err != nil {
		return &Error{Err: err}
	}
	own, err := fields(e.options.HeadersFile)
	if err != nil {
		return err
	}
	req.Header = own
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("User-Agent", "sallyport")
	res, err := e.client.Do(req)
	if err != nil {
		return failure(err)
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // also so that the connection is kept
	if res.StatusCode/100 != 2 {
		return refused(res.StatusCode, res.Header)
	}
	if refused, note := remark(answer); refused > 0 || note != "" {
		return &Partial{Refused: refused, Note: note}
	}
	return nil
}

func squeeze(body []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(body) // a buffer takes everything
	_ = z.Close()
	return out.Bytes()
}

// remark reads an ExportTraceServiceResponse: how many spans the collector has
// refused, and why. What is not one says nothing. The message's own package
// would bring gRPC along.
func remark(answer []byte) (refused int, note string) {
	const partialSuccess, rejectedSpans, errorMessage = 1, 1, 2
	_ = each(answer, func(field protowire.Number, partial []byte, _ uint64) {
		if field != partialSuccess || partial == nil {
			return
		}
		_ = each(partial, func(field protowire.Number, text []byte, n uint64) {
			switch {
			case field == rejectedSpans && text == nil:
				refused = int(min(n, mostSpans))
				if int64(n) < 0 { // the field is signed
					refused = 0
				}
			case field == errorMessage && text != nil:
				note = strings.ToValidUTF8(string(text[:min(len(text), mostNote)]), "\ufffd")
			}
		})
	})
	return refused, note
}

// each calls f for the fields of a message: with their bytes, or, if these are
// nil, with their number.
func each(message []byte, f func(field protowire.Number, text []byte, number uint64)) error {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		switch kind {
		case protowire.VarintType:
			number, used := protowire.ConsumeVarint(message)
			if n = used; n >= 0 {
				f(field, nil, number)
			}
		case protowire.BytesType:
			text, used := protowire.ConsumeBytes(message)
			if n = used; n >= 0 {
				f(field, append([]byte{}, text...), 0)
			}
		default:
			n = protowire.ConsumeFieldValue(field, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
	}
	return nil
}

package fastcgi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// readHead reads until the empty line that ends the header, and returns what
// was read behind it.
func (c *call) readHead() (head, rest []byte, err error) {
	var data []byte
	chunk := make([]byte, 2<<10)
	for {
		n, err := c.stdout(chunk)
		from := max(len(data)-3, 0)
		data = append(data, chunk[:n]...)
		if end, next := endOfHead(data, from); end >= 0 {
			if end > c.transport.options.HeadBytes {
				return nil, nil, fmt.Errorf("%w: it is longer than %d bytes", errHead, c.transport.options.HeadBytes)
			}
			return data[:end], data[next:], nil
		}
		switch {
		case len(data) > c.transport.options.HeadBytes:
			return nil, nil, fmt.Errorf("%w: it is longer than %d bytes", errHead, c.transport.options.HeadBytes)
		case err == io.EOF:
			return nil, nil, fmt.Errorf("%w: the output ended before it", errHead)
		case err != nil:
			return nil, nil, err
		}
	}
}

// endOfHead finds the first empty line. Lines end with LF or CRLF (RFC 3875
// section 6.2).
func endOfHead(data []byte, from int) (end, next int) {
	for i := from; i < len(data); i++ {
		if data[i] != '\n' {
			continue
		}
		switch after := data[i+1:]; {
		case bytes.HasPrefix(after, []byte("\n")):
			return i + 1, i + 2
		case bytes.HasPrefix(after, []byte("\r\n")):
			return i + 1, i + 3
		}
	}
	return -1, 0
}

// response makes a response of the script's header (RFC 3875 section 6).
func (c *call) response(head, rest []byte) (*http.Response, error) {
	header := make(http.Header)
	for line := range strings.SplitSeq(strings.TrimSuffix(string(head), "\n"), "\n") {
		line = strings.TrimSuffix(line, "\r")
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("%w: %.100q", errHead, line)
		}
		name = http.CanonicalHeaderKey(name)
		header[name] = append(header[name], value)
	}
	status, err := statusOf(header)
	if err != nil {
		return nil, err
	}
	length, err := lengthOf(header)
	if err != nil {
		return nil, err
	}
	res := &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, ContentLength: length, Request: c.answered(),
	}
	if c.req.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified {
		res.Body = &output{call: c, left: 0}
		if c.req.Method != http.MethodHead {
			res.ContentLength = 0
			delete(header, "Content-Length")
		}
		return res, nil
	}
	res.Body = &output{call: c, ahead: rest, left: length}
	return res, nil
}

// answered is the request with the server that answered in its URL, for logs.
func (c *call) answered() *http.Request {
	req := new(http.Request)
	*req = *c.req
	req.URL = &url.URL{Scheme: "fastcgi", Host: c.transport.options.Server}
	return req
}

// statusOf takes Status out of the header. Without it the answer is 200, or 302
// if it names a location.
func statusOf(header http.Header) (int, error) {
	values := header["Status"]
	delete(header, "Status")
	switch {
	case len(values) == 0 && header["Location"] != nil:
		return http.StatusFound, nil
	case len(values) == 0:
		return http.StatusOK, nil
	}
	code, _, _ := strings.Cut(values[0], " ")
	status, err := strconv.Atoi(code)
	if len(values) > 1 || err != nil || len(code) != 3 || status < 200 {
		return 0, fmt.Errorf("%w: Status: %.100q", errHead, strings.Join(values, ", "))
	}
	return status, nil
}

// lengthOf returns the announced length, or -1.
func lengthOf(header http.Header) (int64, error) {
	values := header["Content-Length"]
	if len(values) == 0 {
		return -1, nil
	}
	length, err := strconv.ParseUint(values[0], 10, 63)
	if len(values) > 1 || err != nil {
		return 0, fmt.Errorf("%w: Content-Length: %.100q", errHead, strings.Join(values, ", "))
	}
	return int64(length), nil
}

// output is the body of an answer.
type output struct {
	call  *call
	ahead []byte // read together with the header
	left  int64  // of the announced length; -1: none was announced
}

// Read implements [io.Reader]. Too little is an error; what is more than was
// announced is not read.
func (o *output) Read(p []byte) (int, error) {
	if o.left == 0 {
		o.call.whole = true
		return 0, io.EOF
	}
	if o.left > 0 {
		p = p[:min(int64(len(p)), o.left)]
	}
	var n int
	var err error
	if len(o.ahead) > 0 {
		n = copy(p, o.ahead)
		o.ahead = o.ahead[n:]
	} else {
		n, err = o.call.stdout(p)
	}
	if o.left > 0 {
		o.left -= int64(n)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// Close ends the exchange.
func (o *output) Close() error {
	o.call.finish()
	return nil
}

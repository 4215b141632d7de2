package proxy

import (
	"io"
	"net/http"
	"sync"
)

// copier carries a response's body to the client. It is the writer that the
// body is copied to, so that afterwards it is known which side failed.
type copier struct {
	to      io.Writer
	control *http.ResponseController // pushes each piece out; nil: not needed
	body    atHand                   // whose pieces these are; nil: it does not say
	failed  error                    // of writing
}

// atHand is a body that knows what has arrived of it.
type atHand interface {
	// AtHand reports, without waiting, whether more of the body has arrived
	// and whether nothing more will come.
	AtHand() (more, ended bool)
}

// begin prepares the copying of a body to the client. What streams is pushed
// out, beginning with the head, which goes with the first piece if that is
// there already.
func (c *copier) begin(w http.ResponseWriter, body io.Reader, streams bool) error {
	c.to = w
	c.body, _ = body.(atHand)
	if !streams {
		return nil
	}
	c.control = http.NewResponseController(w)
	if c.body != nil {
		if more, ended := c.body.AtHand(); more || ended {
			return nil
		}
	}
	return c.control.Flush()
}

// Write implements [io.Writer]. The last piece is left to the end of the
// response, which pushes it out anyway.
func (c *copier) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	if err == nil && c.control != nil && !c.last() {
		err = c.control.Flush()
	}
	if err != nil {
		c.failed = err
	}
	return n, err
}

func (c *copier) last() bool {
	if c.body == nil {
		return false
	}
	_, ended := c.body.AtHand()
	return ended
}

// copy copies to the body's end. Our own engine's bodies write themselves: what
// came with the head goes out from where it lies, without another copy.
func (c *copier) copy(body io.Reader, buffers *sync.Pool) error {
	if from, ok := body.(io.WriterTo); ok {
		_, err := from.WriteTo(c)
		return err
	}
	buffer := buffers.Get().(*[copySize]byte)
	defer buffers.Put(buffer)
	for {
		n, err := body.Read(buffer[:])
		if n > 0 {
			if _, failed := c.Write(buffer[:n]); failed != nil {
				return failed
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// release puts the copier back.
func (c *copier) release(to *sync.Pool) {
	*c = copier{}
	to.Put(c)
}

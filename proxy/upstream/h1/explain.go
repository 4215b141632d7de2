package h1

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// explain finds the cause of a failure.
func (x *exchange) explain(err error) error {
	ctx := x.req.Context()
	if ctx.Err() != nil && x.c.interrupted.Load() {
		return context.Cause(ctx)
	}
	if _, ok := errors.AsType[*ProtocolError](err); ok {
		return err
	}
	if x.sender != nil {
		if cause := x.sender.failure(); cause != nil {
			return cause
		}
	}
	switch {
	case x.writeErr != nil && x.wrote == 0:
		return &UnsentError{x.writeErr}
	case x.writeErr != nil:
		return x.writeErr
	case isDeadline(err):
		return &TimeoutError{forHead, x.patience}
	case err == io.EOF && !x.answered:
		return ErrServerClosed
	case err == io.EOF:
		return fmt.Errorf("the response's head ended early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// explainBody finds the cause of a failure to read the body.
func (x *exchange) explainBody(err error) error {
	ctx := x.req.Context()
	switch {
	case !x.c.interrupted.Load() && isDeadline(err):
		return &TimeoutError{forBody, x.t.options.BodyIdleTimeout}
	case !x.c.interrupted.Load():
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case x.using.Load()&closed != 0:
		return errBodyClosed
	case x.sender != nil && x.sender.failure() != nil:
		return x.sender.failure()
	}
	return err
}

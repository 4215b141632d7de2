package main

import (
	"fmt"
	"net"
	"time"
)

// notifyTimeout bounds a message to the service manager, whose socket could be
// full.
const notifyTimeout = time.Second

// notify sends a state such as "READY=1" to the service manager, as
// sd_notify(3) describes. It does nothing where there is none. A
// leading @ names an abstract socket, which package net understands. The library for
// this reads the environment, so these lines are ours.
func (m serviceManager) notify(state string) error {
	if m.notifySocket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.notifySocket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(notifyTimeout)); err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	return nil
}

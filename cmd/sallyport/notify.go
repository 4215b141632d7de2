package main

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
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

// watchdog returns a ticker at half the interval within which the service manager
// wants to hear from us (sd_watchdog_enabled(3)), or one that never ticks.
func (m serviceManager) watchdog() *time.Ticker {
	if m.watchdogEvery <= 0 {
		ticker := time.NewTicker(time.Hour)
		ticker.Stop()
		return ticker
	}
	return time.NewTicker(max(m.watchdogEvery/2, time.Millisecond))
}

// monotonic is the time that RELOADING=1 has to be sent with (sd_notify(3)).
func monotonic() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}

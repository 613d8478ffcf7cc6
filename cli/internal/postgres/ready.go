package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
)

// answerTime bounds one look.
const answerTime = 2 * time.Second

// Ready returns nil when the server takes connections. It begins to connect and leaves when it is asked for the password: while the server
// starts or recovers, it refuses before that.
func (s *Server) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.address())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := conn.Write(startupMessage()); err != nil {
		return fmt.Errorf("begin to connect: %w", err)
	}
	// The whole answer, which is short: a connection that is closed with some of it unread is a reset, which PostgreSQL logs.
	var answer [1024]byte
	n, err := conn.Read(answer[:])
	if err != nil && n == 0 {
		return fmt.Errorf("begin to connect: %w", err)
	}
	if answer[0] != 'R' { // AuthenticationRequest
		return errors.New("the server does not take connections yet")
	}
	return nil
}

// startupMessage is PostgreSQL's first message: length, protocol 3.0, pairs of names and values, each ended by a zero byte.
func startupMessage() []byte {
	m := binary.BigEndian.AppendUint32(nil, 0)
	m = binary.BigEndian.AppendUint32(m, 3<<16)
	for _, word := range []string{"user", owner, "database", database, ""} {
		m = append(append(m, word...), 0)
	}
	binary.BigEndian.PutUint32(m, uint32(len(m)))
	return m
}

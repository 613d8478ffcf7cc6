//go:build !linux

package cputime

import "time"

func (Group) used() (time.Duration, error) { return 0, ErrUnknown }

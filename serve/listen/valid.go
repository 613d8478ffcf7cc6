package listen

import (
	"buf.build/go/protovalidate"
	"connectrpc.com/connect/v2"
	"connectrpc.com/validate"
	"google.golang.org/protobuf/proto"
)

// validation checks each request against the rules of its message.
func validation(known func(proto.Message) bool) connect.ServerInterceptor {
	if known == nil {
		return validate.NewServerInterceptor(validate.WithoutErrorDetails())
	}
	return validate.NewServerInterceptor(validate.WithoutErrorDetails(), validate.WithValidator(shortcut{protovalidate.GlobalValidator, known}))
}

// shortcut asks a cheaper check first. What that does not vouch for is judged, and refused, by the rules.
type shortcut struct {
	protovalidate.Validator

	known func(proto.Message) bool
}

// Validate answers as the rules do.
func (s shortcut) Validate(message proto.Message, options ...protovalidate.ValidationOption) error {
	if s.known(message) {
		return nil
	}
	return s.Validator.Validate(message, options...)
}

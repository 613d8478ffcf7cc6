package access

import (
	"iter"

	"connectrpc.com/connect/v2"
	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// AllowedRoles returns the roles that a method declares; none: nobody may call it.
func AllowedRoles(spec connect.Spec) []accessv1.Role {
	method, ok := spec.Schema.(protoreflect.MethodDescriptor)
	if !ok {
		return nil
	}
	roles, _ := proto.GetExtension(method.Options(), accessv1.E_AllowedRoles).([]accessv1.Role)
	return roles
}

// Rule says which roles may call an RPC.
type Rule struct {
	// Spec describes the RPC.
	Spec connect.Spec
	// Roles may call it.
	Roles []accessv1.Role
}

// Rules lists the rule of each RPC of a server (connect.Server.Specs), reflection left out.
func Rules(specs iter.Seq[connect.Spec]) []Rule {
	var rules []Rule
	for spec := range specs {
		if !isReflection(spec.Procedure) {
			rules = append(rules, Rule{Spec: spec, Roles: AllowedRoles(spec)})
		}
	}
	return rules
}

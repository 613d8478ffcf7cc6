package rpc

import (
	"context"

	"github.com/google/uuid"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/refusal"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// keys is the KeyService, for admins. A key's secret exists in the answer to its creation and nowhere else.
type keys struct{ Services }

var _ controlplanev1connect.KeyServiceHandler = keys{}

func (s keys) CreateKey(ctx context.Context, request *controlplanev1.CreateKeyRequest) (*controlplanev1.CreateKeyResponse, error) {
	if err := storable("name", request.GetName()); err != nil {
		return nil, err
	}
	return transact(ctx, writes, func(ctx context.Context) (*controlplanev1.CreateKeyResponse, error) {
		fresh := access.NewKey()
		key, err := s.Store.CreateKey(ctx, store.KeyHash(access.Hash(fresh.Reveal())), request)
		if err != nil {
			return nil, err
		}
		return &controlplanev1.CreateKeyResponse{Key: key, Secret: fresh.Reveal()}, nil
	})
}

func (s keys) ListKeys(ctx context.Context, _ *controlplanev1.ListKeysRequest) (*controlplanev1.ListKeysResponse, error) {
	return transact(ctx, reads, func(ctx context.Context) (*controlplanev1.ListKeysResponse, error) {
		list, err := s.Store.ListKeys(ctx)
		return &controlplanev1.ListKeysResponse{Keys: list}, err
	})
}

func (s keys) RevokeKey(ctx context.Context, request *controlplanev1.RevokeKeyRequest) (*controlplanev1.RevokeKeyResponse, error) {
	id, err := uuid.Parse(request.GetKeyId())
	if err != nil {
		return nil, refusal.Invalid("key_id", "key_id: must be a UUID")
	}
	return transact(ctx, writes, func(ctx context.Context) (*controlplanev1.RevokeKeyResponse, error) {
		key, err := s.Store.RevokeKey(ctx, id)
		if s.Revoked != nil { // also after an error: it may have been done
			s.Revoked()
		}
		return &controlplanev1.RevokeKeyResponse{Key: key}, err
	})
}

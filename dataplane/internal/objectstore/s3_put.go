package objectstore

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Put implements Store.
//
// A retry of a conditional PUT that had won is answered 412 like any other late comer: only the bytes tell
// whether it was us. So each attempt after an unanswered one looks first. That also serves when a server
// refuses before it has read the body and cuts the connection: the 412 never reaches us.
func (s *S3) Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	unanswered := false
	return s.retry(ctx, "put", key, sizeOf(body), func(ctx context.Context) error {
		if unanswered {
			if err := s.compare(ctx, key, body, crc32c); !isNotFound(err) {
				return err
			}
		}
		err := s.putOnce(ctx, key, body, crc32c)
		if err == nil {
			return nil
		}
		v := classify(err)
		unanswered = unanswered || v.mayHaveArrived
		if !errors.Is(v.err, errExists) {
			return err
		}
		err = s.compare(ctx, key, body, crc32c)
		if isNotFound(err) { // a key has one life
			return fmt.Errorf("%w: they were deleted meanwhile", ErrConflict)
		}
		return err
	})
}

// putOnce sends the checksum that we have and leaves the payload out of the signature: SHA-256 would cost more
// CPU than all else. The server checks the CRC.
func (s *S3) putOnce(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	_, err := s.client.PutObject(sending(ctx, body), &s3.PutObjectInput{
		Bucket:         &s.cfg.Bucket,
		Key:            &key,
		Body:           newPieces(body),
		ContentLength:  aws.Int64(sizeOf(body)),
		ChecksumCRC32C: aws.String(encodeChecksum(crc32c)),
		IfNoneMatch:    aws.String("*"),
	}, func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	})
	return err
}

// compare tells whether key holds body: nil, ErrConflict, a 404, or errUnclear when the store did not say.
func (s *S3) compare(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	info, err := s.headOnce(ctx, key)
	if isNotFound(err) {
		return err
	}
	size := sizeOf(body)
	same := info.SizeBytes == size && info.CRC32C == crc32c
	if err == nil && !info.HasCRC32C && info.SizeBytes == size {
		same, err = s.sameBytes(ctx, key, body)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUnclear, err)
	}
	if !same {
		return fmt.Errorf("%w: they are %d bytes, ours %d", ErrConflict, info.SizeBytes, size)
	}
	return nil
}

// sameBytes is for stores that keep no checksum.
func (s *S3) sameBytes(ctx context.Context, key string, body [][]byte) (bool, error) {
	size := sizeOf(body)
	if size == 0 {
		return true, nil
	}
	got := make([]byte, size)
	n, first, _, err := s.get(ctx, key, fmt.Sprintf("bytes=0-%d", size-1), got)
	return first == 0 && equal(body, got[:n]), err
}

func isNotFound(err error) bool { return err != nil && errors.Is(classify(err).err, ErrNotFound) }

func encodeChecksum(crc32c uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32c))
}

// decodeChecksum refuses what is not the checksum of a whole object (a multipart one has a suffix).
func decodeChecksum(s string) (crc32c uint32, ok bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

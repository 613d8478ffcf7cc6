package objectstore

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Put implements Store. A retry of a conditional PUT that had won is answered 412 like any other late comer:
// only the bytes tell whether it was us.
func (s *S3) Put(ctx context.Context, key string, body []byte, crc32c uint32) error {
	err := s.retry(ctx, "put", key, func(ctx context.Context) error { return s.putOnce(ctx, key, body, crc32c) })
	if errors.Is(err, errExists) {
		return s.compare(ctx, key, body, crc32c)
	}
	return err
}

// putOnce sends the checksum that we have and leaves the payload out of the signature: SHA-256 would cost more
// CPU than all else. The server checks the CRC.
func (s *S3) putOnce(ctx context.Context, key string, body []byte, crc32c uint32) error {
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket:         &s.cfg.Bucket,
		Key:            &key,
		Body:           bytes.NewReader(body),
		ContentLength:  aws.Int64(int64(len(body))),
		ChecksumCRC32C: aws.String(encodeChecksum(crc32c)),
		IfNoneMatch:    aws.String("*"),
	}, func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	})
	return err
}

// compare decides what a 412 means. Its own failure leaves the fate of the PUT open.
func (s *S3) compare(ctx context.Context, key string, body []byte, crc32c uint32) error {
	info, err := s.Head(ctx, key)
	if errors.Is(err, ErrNotFound) { // deleted since: a key has one life
		return &OpError{Op: "put", Key: key, Attempts: 1, Err: fmt.Errorf("%w: deleted while they were compared", ErrConflict)}
	}
	if err != nil {
		return possibly(err)
	}
	same := info.SizeBytes == int64(len(body)) && info.CRC32C == crc32c
	if !info.HasCRC32C && info.SizeBytes == int64(len(body)) {
		if same, err = s.sameBytes(ctx, key, body); err != nil {
			return possibly(err)
		}
	}
	if same {
		return nil
	}
	return &OpError{Op: "put", Key: key, Attempts: 1, Err: fmt.Errorf("%w: they are %d bytes, ours %d", ErrConflict, info.SizeBytes, len(body))}
}

// sameBytes is for stores that keep no checksum.
func (s *S3) sameBytes(ctx context.Context, key string, body []byte) (bool, error) {
	if len(body) == 0 {
		return true, nil
	}
	got := make([]byte, len(body))
	if err := s.GetRange(ctx, key, 0, got); err != nil {
		return false, err
	}
	return bytes.Equal(got, body), nil
}

func possibly(err error) error {
	var op *OpError
	if !errors.As(err, &op) {
		return err
	}
	unsure := *op
	unsure.MayHaveArrived = true
	return &unsure
}

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

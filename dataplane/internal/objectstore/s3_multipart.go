package objectstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func validPart(key string, number int) error {
	if number < 1 || number > MaxParts {
		return refuse("upload part", key, "part %d: want 1 to %d", number, MaxParts)
	}
	return nil
}

func sizeOfParts(parts []UploadedPart) (size int64) {
	for _, p := range parts {
		size += p.SizeBytes
	}
	return size
}

// CreateUpload implements Multipart. An attempt that was not answered leaves an upload that nobody knows.
func (s *S3) CreateUpload(ctx context.Context, key string) (uploadID string, err error) {
	err = s.retry(ctx, "create upload", key, 0, func(ctx context.Context) error {
		out, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
			Bucket: &s.cfg.Bucket, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ChecksumType: types.ChecksumTypeFullObject,
		})
		if err != nil {
			return err
		}
		uploadID = aws.ToString(out.UploadId)
		return nil
	})
	return uploadID, err
}

// UploadPart implements Multipart.
func (s *S3) UploadPart(ctx context.Context, key, uploadID string, number int, body [][]byte, crc32c uint32) (UploadedPart, error) {
	if err := validPart(key, number); err != nil {
		return UploadedPart{}, err
	}
	part := UploadedPart{Number: number, SizeBytes: sizeOf(body), CRC32C: crc32c, HasCRC32C: true}
	err := s.retry(ctx, "upload part", key, part.SizeBytes, func(ctx context.Context) error {
		out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &s.cfg.Bucket, Key: &key, UploadId: &uploadID, PartNumber: aws.Int32(int32(number)),
			Body: newPieces(body), ContentLength: &part.SizeBytes, ChecksumCRC32C: aws.String(encodeChecksum(crc32c)),
		}, func(o *s3.Options) {
			o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
		})
		if err != nil {
			return err
		}
		part.ETag = aws.ToString(out.ETag)
		return nil
	})
	return part, err
}

// ListParts implements Multipart.
func (s *S3) ListParts(ctx context.Context, key, uploadID string) ([]UploadedPart, error) {
	parts := []UploadedPart{}
	var after *string
	for {
		var out *s3.ListPartsOutput
		err := s.retry(ctx, "list parts", key, 0, func(ctx context.Context) (err error) {
			out, err = s.client.ListParts(ctx, &s3.ListPartsInput{Bucket: &s.cfg.Bucket, Key: &key, UploadId: &uploadID, PartNumberMarker: after})
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, p := range out.Parts {
			part := UploadedPart{Number: int(aws.ToInt32(p.PartNumber)), SizeBytes: aws.ToInt64(p.Size), ETag: aws.ToString(p.ETag)}
			part.CRC32C, part.HasCRC32C = decodeChecksum(aws.ToString(p.ChecksumCRC32C))
			parts = append(parts, part)
		}
		if !aws.ToBool(out.IsTruncated) || len(parts) > MaxParts {
			return parts, nil
		}
		after = out.NextPartNumberMarker
	}
}

// CompleteUpload implements Multipart. As with Put, an attempt after an unanswered one looks first, and 412 may mean that we were it.
func (s *S3) CompleteUpload(ctx context.Context, key, uploadID string, parts []UploadedPart, crc32c uint32) error {
	size := sizeOfParts(parts)
	unanswered := false
	return s.retry(ctx, "complete upload", key, size, func(ctx context.Context) error {
		if unanswered {
			if err := s.compareDescription(ctx, key, size, crc32c); !isNotFound(err) {
				return err
			}
		}
		err := s.completeOnce(ctx, key, uploadID, parts, crc32c)
		if err == nil {
			return nil
		}
		v := classify(err)
		unanswered = unanswered || v.mayHaveArrived
		if !errors.Is(v.err, errExists) && !errors.Is(v.err, ErrNotFound) {
			return err
		}
		return s.compareDescription(ctx, key, size, crc32c)
	})
}

func (s *S3) completeOnce(ctx context.Context, key, uploadID string, parts []UploadedPart, crc32c uint32) error {
	completed := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		completed[i] = types.CompletedPart{PartNumber: aws.Int32(int32(p.Number)), ETag: aws.String(p.ETag)}
		if p.HasCRC32C {
			completed[i].ChecksumCRC32C = aws.String(encodeChecksum(p.CRC32C))
		}
	}
	_, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &s.cfg.Bucket, Key: &key, UploadId: &uploadID, MultipartUpload: &types.CompletedMultipartUpload{Parts: completed},
		ChecksumCRC32C: aws.String(encodeChecksum(crc32c)), ChecksumType: types.ChecksumTypeFullObject, IfNoneMatch: aws.String("*"),
	})
	return err
}

// compareDescription tells by length and checksum whether key holds what it should: nil, ErrConflict, a 404, or errUnclear when the store did
// not say. A store that keeps no checksum of the whole is believed about the length: the key is this upload's alone.
func (s *S3) compareDescription(ctx context.Context, key string, size int64, crc32c uint32) error {
	info, err := s.headOnce(ctx, key)
	switch {
	case isNotFound(err):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errUnclear, err)
	case info.SizeBytes != size, info.HasCRC32C && info.CRC32C != crc32c:
		return fmt.Errorf("%w: they are %d bytes, ours %d", ErrConflict, info.SizeBytes, size)
	}
	return nil
}

// AbortUpload implements Multipart.
func (s *S3) AbortUpload(ctx context.Context, key, uploadID string) error {
	err := s.retry(ctx, "abort upload", key, 0, func(ctx context.Context) error {
		_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.cfg.Bucket, Key: &key, UploadId: &uploadID})
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

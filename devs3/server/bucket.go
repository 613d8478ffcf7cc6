package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// prepareTimeout bounds the time from the start to the bucket's existence.
const prepareTimeout = 30 * time.Second

// prepare waits until the server listens, then creates the bucket as any client would.
func prepare(ctx context.Context, cfg Config, address string, bound <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	select {
	case <-bound:
	case <-ctx.Done():
		return ctx.Err()
	}
	endpoint := "http://" + address
	if err := CheckHealth(ctx, endpoint); err != nil {
		return err
	}
	return createBucket(ctx, cfg, endpoint)
}

func createBucket(ctx context.Context, cfg Config, endpoint string) error {
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(endpoint),
		UsePathStyle: true,
		Region:       cfg.region(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: cfg.AccessKey, SecretAccessKey: string(cfg.SecretKey)}, nil
		}),
	})
	in := &s3.CreateBucketInput{Bucket: aws.String(cfg.Bucket)}
	if cfg.region() != "us-east-1" { // S3 refuses a constraint that names its default region
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{
			LocationConstraint: types.BucketLocationConstraint(cfg.region()),
		}
	}
	_, err := client.CreateBucket(ctx, in)
	if _, mine := errors.AsType[*types.BucketAlreadyOwnedByYou](err); err == nil || mine {
		return nil
	}
	return fmt.Errorf("create bucket %q: %w", cfg.Bucket, err)
}

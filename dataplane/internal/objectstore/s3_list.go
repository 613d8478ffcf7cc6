package objectstore

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// directory tells whether the bucket is an S3 Express directory bucket: those are named so, the client opens sessions to them by itself, and
// their lists are in no order, begin nowhere but at the beginning, and want prefixes that end in a slash.
func (s *S3) directory() bool { return strings.HasSuffix(s.cfg.Bucket, "--x-s3") }

// List implements Store. In a directory bucket every page costs a walk over all keys below the prefix's last slash.
func (s *S3) List(ctx context.Context, prefix, after string, limit int) (Page, error) {
	if limit < 1 || limit > MaxListLimit {
		return Page{}, refuse("list", prefix, "limit %d: want 1 to %d", limit, MaxListLimit)
	}
	if s.directory() {
		return s.walk(ctx, prefix, after, limit)
	}
	in := &s3.ListObjectsV2Input{Bucket: &s.cfg.Bucket, Prefix: &prefix, MaxKeys: aws.Int32(int32(limit))}
	if after != "" {
		in.StartAfter = &after
	}
	found, next, err := s.page(ctx, prefix, in)
	return Page{Objects: found, More: next != nil}, err
}

// page asks for one page; next, if not nil, asks for the one after it.
func (s *S3) page(ctx context.Context, prefix string, in *s3.ListObjectsV2Input) (found []Info, next *string, err error) {
	err = s.retry(ctx, "list", prefix, 0, func(ctx context.Context) error {
		out, err := s.client.ListObjectsV2(ctx, in)
		if err != nil {
			return err
		}
		found, next = make([]Info, len(out.Contents)), nil
		for i, o := range out.Contents {
			found[i] = Info{Key: aws.ToString(o.Key), SizeBytes: aws.ToInt64(o.Size), ModifiedAt: aws.ToTime(o.LastModified)}
		}
		if aws.ToBool(out.IsTruncated) {
			next = aws.String(aws.ToString(out.NextContinuationToken))
		}
		return nil
	})
	return found, next, err
}

// walk keeps the least keys of all that follow after: memory for one page and the next.
func (s *S3) walk(ctx context.Context, prefix, after string, limit int) (Page, error) {
	folder := prefix[:strings.LastIndexByte(prefix, '/')+1]
	in := &s3.ListObjectsV2Input{Bucket: &s.cfg.Bucket, MaxKeys: aws.Int32(MaxListLimit)}
	if folder != "" {
		in.Prefix = &folder
	}
	kept := []Info{}
	for {
		found, next, err := s.page(ctx, prefix, in)
		if err != nil {
			return Page{}, err
		}
		for _, o := range found {
			if o.Key > after && strings.HasPrefix(o.Key, prefix) {
				kept = append(kept, o)
			}
		}
		slices.SortFunc(kept, func(a, b Info) int { return strings.Compare(a.Key, b.Key) })
		kept = kept[:min(len(kept), limit+1)]
		if next == nil {
			return Page{Objects: kept[:min(len(kept), limit)], More: len(kept) > limit}, nil
		}
		if *next == "" {
			return Page{}, refuse("list", prefix, "a list that goes on without a token")
		}
		in.ContinuationToken = next
	}
}

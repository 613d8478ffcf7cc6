package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// maxDeleteKeys is S3's bound for one DeleteObjects.
const maxDeleteKeys = 1000

// S3 is a bucket on S3 or on a server that speaks its protocol.
type S3 struct {
	client    *s3.Client
	cfg       Config
	transport http.RoundTripper
}

var _ Store = (*S3)(nil)

// NewS3 makes the client; it does not call the bucket (SelfTest does). Close it after use.
func NewS3(ctx context.Context, cfg Config) (*S3, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("object store configuration: %w", err)
	}
	cfg = cfg.withDefaults()
	transport := cfg.Transport
	if transport == nil {
		transport = newTransport(cfg.MaxConnections)
	}
	options, err := clientOptions(ctx, cfg, transport)
	if err != nil {
		return nil, err
	}
	measured, err := newMeters(cfg)
	if err != nil {
		return nil, err
	}
	options.APIOptions = append(options.APIOptions, measured.attach)
	return &S3{client: s3.New(options), cfg: cfg, transport: transport}, nil
}

// Close drops idle connections. No call may be under way.
func (s *S3) Close() {
	if t, ok := s.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// newTransport keeps connections: a new one costs a round trip or three before the first byte of a PUT.
func newTransport(maxConnections int) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer(&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}),
		TLSHandshakeTimeout: 5 * time.Second,
		MaxConnsPerHost:     maxConnections,
		MaxIdleConns:        maxConnections,
		MaxIdleConnsPerHost: maxConnections,
		IdleConnTimeout:     30 * time.Second,
		ReadBufferSize:      64 << 10,
		WriteBufferSize:     64 << 10,
		DisableCompression:  true,
	}
}

// noRedirect: a redirect means a wrong region or endpoint; a signed request must not wander.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func clientOptions(ctx context.Context, cfg Config, transport http.RoundTripper) (s3.Options, error) {
	o := s3.Options{
		Region:                       cfg.Region,
		UsePathStyle:                 cfg.PathStyle,
		HTTPClient:                   &http.Client{Transport: sender{transport}, CheckRedirect: noRedirect},
		Retryer:                      aws.NopRetryer{}, // ours knows what may have arrived
		RequestChecksumCalculation:   aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation:   aws.ResponseChecksumValidationWhenRequired, // segments carry their own
		ContinueHeaderThresholdBytes: -1,                                         // "Expect: 100-continue" costs a round trip
	}
	if cfg.Endpoint != "" {
		o.BaseEndpoint = aws.String(cfg.Endpoint)
	}
	if cfg.AccessKey != "" {
		o.Credentials = credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey.Reveal(), "")
	}
	if o.Credentials != nil && o.Region != "" {
		return o, nil
	}
	env, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return s3.Options{}, fmt.Errorf("load AWS configuration: %w", err)
	}
	if o.Credentials == nil {
		o.Credentials = env.Credentials
	}
	setDefault(&o.Region, env.Region)
	setDefault(&o.Region, "us-east-1")
	return o, nil
}

// GetRange implements Store.
func (s *S3) GetRange(ctx context.Context, key string, position int64, dst []byte) error {
	if len(dst) == 0 || position < 0 {
		return refuse("get", key, "range of %d bytes at %d", len(dst), position)
	}
	want := fmt.Sprintf("bytes=%d-%d", position, position+int64(len(dst))-1)
	return s.retry(ctx, "get", key, int64(len(dst)), func(ctx context.Context) error {
		n, first, _, err := s.get(ctx, key, want, dst)
		if err != nil {
			return err
		}
		if first != position {
			return fmt.Errorf("%w: it ignores ranges", ErrRefused)
		}
		if n < len(dst) {
			return ErrOutOfRange
		}
		return nil
	})
}

// GetTail implements Store.
func (s *S3) GetTail(ctx context.Context, key string, dst []byte) (n int, size int64, err error) {
	if len(dst) == 0 {
		return 0, 0, refuse("get", key, "tail of no bytes")
	}
	want := fmt.Sprintf("bytes=-%d", len(dst))
	err = s.retry(ctx, "get", key, int64(len(dst)), func(ctx context.Context) error {
		var first int64
		n, first, size, err = s.get(ctx, key, want, dst)
		if err == nil && first+int64(n) != size {
			err = fmt.Errorf("%w: it ignores suffix ranges", ErrRefused)
		}
		return err
	})
	if errors.Is(err, ErrOutOfRange) { // S3 says so of an empty object
		return 0, 0, nil
	}
	return n, size, err
}

// get reads one range into dst: n bytes from first on, of an object of size bytes.
func (s *S3) get(ctx context.Context, key, byteRange string, dst []byte) (n int, first, size int64, err error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &s.cfg.Bucket, Key: &key, Range: &byteRange,
	})
	if err != nil {
		return 0, 0, 0, err
	}
	defer out.Body.Close()
	length := aws.ToInt64(out.ContentLength)
	if first, size, err = contentRange(aws.ToString(out.ContentRange), length); err != nil {
		return 0, 0, 0, err
	}
	if length > int64(len(dst)) {
		return 0, 0, 0, fmt.Errorf("%w: it ignores ranges", ErrRefused)
	}
	n, err = io.ReadFull(out.Body, dst[:length])
	return n, first, size, err
}

// contentRange reads "bytes first-last/size"; without the header the answer is the whole object.
func contentRange(header string, length int64) (first, size int64, err error) {
	if header == "" {
		return 0, length, nil
	}
	span, total, ok1 := strings.Cut(strings.TrimPrefix(header, "bytes "), "/")
	from, _, ok2 := strings.Cut(span, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	size, err2 := strconv.ParseInt(total, 10, 64)
	if !ok1 || !ok2 || err1 != nil || err2 != nil {
		return 0, 0, fmt.Errorf("%w: it answered with content range %q", ErrRefused, header)
	}
	return first, size, nil
}

// Head implements Store.
func (s *S3) Head(ctx context.Context, key string) (info Info, err error) {
	err = s.retry(ctx, "head", key, 0, func(ctx context.Context) error {
		info, err = s.headOnce(ctx, key)
		return err
	})
	return info, err
}

func (s *S3) headOnce(ctx context.Context, key string) (Info, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &s.cfg.Bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled,
	})
	if err != nil {
		return Info{}, err
	}
	info := Info{Key: key, SizeBytes: aws.ToInt64(out.ContentLength), ModifiedAt: aws.ToTime(out.LastModified)}
	info.CRC32C, info.HasCRC32C = decodeChecksum(aws.ToString(out.ChecksumCRC32C))
	return info, nil
}

// Delete implements Store.
func (s *S3) Delete(ctx context.Context, keys []string) error {
	for len(keys) > 0 {
		n := min(len(keys), maxDeleteKeys)
		if err := s.deleteBatch(ctx, keys[:n]); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

func (s *S3) deleteBatch(ctx context.Context, left []string) error {
	return s.retry(ctx, "delete", left[0], 0, func(ctx context.Context) error {
		ids := make([]types.ObjectIdentifier, len(left))
		for i := range left {
			ids[i].Key = &left[i]
		}
		out, err := s.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
			Bucket: &s.cfg.Bucket, Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)},
		})
		if err != nil {
			return err
		}
		left, err = notDeleted(out.Errors)
		return err
	})
}

// notDeleted tells which keys to ask for again, and why.
func notDeleted(failures []types.Error) (left []string, err error) {
	for _, f := range failures {
		code := aws.ToString(f.Code)
		if code == "NoSuchKey" {
			continue
		}
		left = append(left, aws.ToString(f.Key))
		err = &keyError{code: code, message: aws.ToString(f.Message)}
	}
	return left, err
}

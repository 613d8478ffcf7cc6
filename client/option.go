package client

import (
	"crypto/tls"
	"log/slog"
	"time"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/trace"
)

// Option configures a [Client].
type Option interface{ applyClient(*config) }

type clientOption func(*config)

func (f clientOption) applyClient(c *config) { f(c) }

type config struct {
	agents        []string
	controlPlanes []string
	key           string // never logged, never printed
	zone          *string
	dial          func(url string) connect.Transport
	tls           *tls.Config
	logger        *slog.Logger
	tracers       trace.TracerProvider
	traceShare    float64
}

// WithAgents names agents' base URLs, e.g. "http://10.0.3.7:8080". One that answers suffices: it names the
// others. Needed to produce and consume.
func WithAgents(urls ...string) Option {
	return clientOption(func(c *config) { c.agents = append(c.agents, urls...) })
}

// WithControlPlane names control planes' base URLs, tried in this order. Needed for [Client.Admin] only.
func WithControlPlane(urls ...string) Option {
	return clientOption(func(c *config) { c.controlPlanes = append(c.controlPlanes, urls...) })
}

// WithAPIKey sets the key that every request carries.
func WithAPIKey(key string) Option { return clientOption(func(c *config) { c.key = key }) }

// WithZone says in which zone this process runs, e.g. "eu-west-1a": agents there are preferred. Default: the
// environment variable STREAMHOUSE_ZONE, else none.
func WithZone(zone string) Option { return clientOption(func(c *config) { c.zone = &zone }) }

// WithTLS sets how https URLs are reached. Default: the system's roots.
func WithTLS(t *tls.Config) Option { return clientOption(func(c *config) { c.tls = t }) }

// WithTransport replaces HTTP: dial returns the transport to the server at a URL.
// Tests pass in-process transports.
func WithTransport(dial func(url string) connect.Transport) Option {
	return clientOption(func(c *config) { c.dial = dial })
}

// WithLogger sets where state changes and retries are logged. Default: nowhere.
func WithLogger(l *slog.Logger) Option { return clientOption(func(c *config) { c.logger = l }) }

// ProducerOption configures a [Producer].
type ProducerOption interface{ applyProducer(*producerConfig) }

type producerOption func(*producerConfig)

func (f producerOption) applyProducer(c *producerConfig) { f(c) }

// Acks says when a record counts as stored.
type Acks int8

const (
	// AcksDurable: when it is in the bucket and committed. No failure loses it (P1).
	AcksDurable Acks = iota
	// AcksBuffered: when the leader has it in memory, without an offset. It is lost if the leader dies, or loses
	// its session, before its next flush. The topic must allow it.
	AcksBuffered
)

type producerConfig struct {
	acks            Acks
	idempotent      bool
	compress        bool
	linger          time.Duration
	batchBytes      int
	requestBytes    int
	bufferBytes     int
	inFlight        int // batches of a partition; 0: not set
	failWhenFull    bool
	noRetries       bool
	deliveryTimeout time.Duration
}

func defaultProducer() producerConfig {
	return producerConfig{
		idempotent: true, compress: true, linger: 5 * time.Millisecond, batchBytes: 1 << 20, requestBytes: 3 << 20,
		bufferBytes: 64 << 20, deliveryTimeout: 2 * time.Minute,
	}
}

// repeats reports whether a batch that may have been stored is sent again. Only then is an attempt given up before its answer came.
func (c *producerConfig) repeats() bool { return c.idempotent && !c.noRetries }

// mostInFlight is how many batches of a producer an agent recognises when they come again.
const mostInFlight = 5

func (c *producerConfig) validate() *Error {
	if c.inFlight == 0 {
		c.inFlight = mostInFlight
		if !c.idempotent || c.noRetries {
			c.inFlight = 1
		}
	}
	switch {
	case c.inFlight < 1 || c.inFlight > mostInFlight:
		return failure(ReasonMisconfigured, "batches in flight %d: must be 1 to %d", c.inFlight, mostInFlight)
	case c.requestBytes < c.batchBytes || c.requestBytes > maxRecordBytes:
		return failure(ReasonMisconfigured, "request bytes %d: must be at least the batch bytes, %d, and at most 3 MiB", c.requestBytes, c.batchBytes)
	case c.batchBytes < 1<<10 || c.batchBytes > 1<<20:
		return failure(ReasonMisconfigured, "batch bytes %d: must be 1 KiB to 1 MiB", c.batchBytes)
	case c.bufferBytes < c.batchBytes:
		return failure(ReasonMisconfigured, "buffer bytes %d: must be at least the batch bytes, %d", c.bufferBytes, c.batchBytes)
	case c.linger < 0 || c.linger > time.Minute:
		return failure(ReasonMisconfigured, "linger %v: must be 0 to 1m", c.linger)
	case c.deliveryTimeout < time.Millisecond || c.deliveryTimeout > time.Hour:
		return failure(ReasonMisconfigured, "delivery timeout %v: must be 1ms to 1h", c.deliveryTimeout)
	case c.acks != AcksDurable && c.acks != AcksBuffered:
		return failure(ReasonMisconfigured, "acks %d: no such value", c.acks)
	}
	return nil
}

// WithAcks says when a record counts as stored. Default: AcksDurable.
func WithAcks(a Acks) ProducerOption { return producerOption(func(c *producerConfig) { c.acks = a }) }

// WithoutIdempotence sends records without producer id and sequence: what was possibly written is then reported
// instead of retried. A default producer needs no such care.
func WithoutIdempotence() ProducerOption {
	return producerOption(func(c *producerConfig) { c.idempotent = false })
}

// WithoutCompression sends records as they are. Default: LZ4, where it makes a batch smaller.
func WithoutCompression() ProducerOption {
	return producerOption(func(c *producerConfig) { c.compress = false })
}

// WithLinger sets how long a record waits for company while its partition is idle. Default: 5 ms; at most 1 min;
// 0: not at all.
func WithLinger(d time.Duration) ProducerOption {
	return producerOption(func(c *producerConfig) { c.linger = d })
}

// WithBatchBytes sets how many bytes of records, uncompressed, make a batch. Default: 1 MiB; 1 KiB to 1 MiB.
// A record that is larger goes alone.
func WithBatchBytes(n int) ProducerOption {
	return producerOption(func(c *producerConfig) { c.batchBytes = n })
}

// WithBufferBytes bounds the records, uncompressed, that the producer holds; beyond that Produce waits. Default:
// 64 MiB; at least the batch bytes.
func WithBufferBytes(n int) ProducerOption {
	return producerOption(func(c *producerConfig) { c.bufferBytes = n })
}

// WithoutWaiting makes Produce fail with ReasonBufferFull where it would wait for room.
func WithoutWaiting() ProducerOption {
	return producerOption(func(c *producerConfig) { c.failWhenFull = true })
}

// WithDeliveryTimeout sets how long a record is tried, from Produce on. Default: 2 min; 1 ms to 1 h.
func WithDeliveryTimeout(d time.Duration) ProducerOption {
	return producerOption(func(c *producerConfig) { c.deliveryTimeout = d })
}

// WithRequestBytes sets how many bytes of records, uncompressed, a request to one leader holds; a batch that is larger goes alone. Default:
// 3 MiB; at least the batch bytes, at most 3 MiB.
func WithRequestBytes(n int) ProducerOption {
	return producerOption(func(c *producerConfig) { c.requestBytes = n })
}

// WithBatchesInFlight sets how many batches of a partition are sent before the first of them is answered; 1 to 5. Default: 5, 1 for a
// producer without idempotence, where more give the order of records up when an attempt fails, and 1 without retries, where a request that
// is overtaken on the way for longer than the leader waits would be an error.
func WithBatchesInFlight(n int) ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.inFlight = n
		if n == 0 {
			c.inFlight = -1
		}
	})
}

// WithoutRetries sends every batch once: what a default producer would repeat is reported as an error at once. For tests, and for programs
// with a way of their own to repeat.
func WithoutRetries() ProducerOption {
	return producerOption(func(c *producerConfig) { c.noRetries = true })
}

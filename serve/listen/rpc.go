package listen

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/cors"
	"connectrpc.com/grpcreflect/v2"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// handler assembles everything that the port serves.
func (s *Server) handler(options Options) (http.Handler, error) {
	rpc, err := s.assemble(options)
	if err != nil {
		return nil, err
	}
	s.rpc = rpc
	mux := http.NewServeMux()
	connecthttp.Mount(mux, rpc, options.Transport...)
	s.health.mount(mux, rpc.Specs())
	if options.Routes != nil {
		options.Routes(mux)
	}
	return crossOrigin(options.Config.CORSOrigins, boundBody(InPieces(mux), bodyTimeout)), nil
}

// assemble builds the RPC server. The order is what protects it: spans and times first, so that they see every error; refusals next, so that every
// error becomes one; the limit before anything costs something; access and admission before the body is read; validation as the body is decoded.
func (s *Server) assemble(options Options) (*connect.Server, error) {
	spans, err := options.Tracer.Server(options.BeginsTrace)
	if err != nil {
		return nil, err
	}
	timed, err := measure(options.Meter)
	if err != nil {
		return nil, err
	}
	rpc := connect.NewServer(append([]connect.ServerInterceptor{
		spans,
		timed,
		refusal.Interceptor(options.Logger, options.Writes),
		limitCalls(options.MaxCalls),
		access.Interceptor(options.Authenticator),
		admit(options.Admit),
		s.endStreams,
		validation(options.Valid),
	}, options.Inner...)...)
	options.Register(rpc)
	grpcreflect.Register(rpc)
	return rpc, nil
}

// admit is the service's own admission, if it has one.
func admit(interceptor connect.ServerInterceptor) connect.ServerInterceptor {
	if interceptor != nil {
		return interceptor
	}
	return func(next connect.ServerFunc) connect.ServerFunc { return next }
}

// overloadWait is the advice to a caller beyond the limit.
const overloadWait = 250 * time.Millisecond

// limitCalls refuses calls beyond a number in progress: what waits for a pool of connections must not grow without bound.
func limitCalls(most int) connect.ServerInterceptor {
	slots := make(chan struct{}, max(most, 0)) // holds one for each call in progress, of whatever method
	return func(next connect.ServerFunc) connect.ServerFunc {
		if most <= 0 {
			return next
		}
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			if spec.StreamType != connect.StreamTypeUnary {
				return next(ctx, spec, stream)
			}
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				return next(ctx, spec, stream)
			default:
				return refusal.Overloaded(overloadWait, "this process answers %d calls already: try again", most)
			}
		}
	}
}

type stoppingKey struct{}

// Stopping returns a channel that is closed when the server that runs this call begins to stop. Long polls answer then; streams need not
// look, their context ends. nil outside of a call.
func Stopping(ctx context.Context) <-chan struct{} {
	stopping, _ := ctx.Value(stoppingKey{}).(<-chan struct{})
	return stopping
}

// errStopping is the cause of the end of a stream's context at a stop.
var errStopping = errors.New("the server is stopping")

// endStreams ends the context of streams when the stop begins, and says why.
func (s *Server) endStreams(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		ctx = context.WithValue(ctx, stoppingKey{}, (<-chan struct{})(s.stopping))
		if spec.StreamType == connect.StreamTypeUnary {
			return next(ctx, spec, stream)
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		ended := make(chan struct{})
		watched := make(chan struct{}) // closed by the goroutine below when it ends
		go func() {
			defer close(watched)
			select {
			case <-s.stopping:
				cancel(errStopping)
			case <-ended:
			}
		}()
		err := next(ctx, spec, stream)
		close(ended)
		<-watched
		if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), errStopping) {
			return refusal.Stopping()
		}
		return err
	}
}

// crossOrigin answers browsers' questions about other origins' pages.
func crossOrigin(origins []string, next http.Handler) http.Handler {
	if len(origins) == 0 {
		return next
	}
	allowed := corsHeaders{
		methods: join(cors.AllowedMethods()),
		headers: join(append(cors.AllowedHeaders(), "Authorization")),
		exposed: join(cors.ExposedHeaders()),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		if origin == "" || (!slices.Contains(origins, "*") && !slices.Contains(origins, origin)) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Expose-Headers", allowed.exposed)
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			allowed.preflight(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

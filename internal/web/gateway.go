// Package web serves what is not gRPC: the HTTP/JSON form of the API, and Temporal's open-source web UI on top of it.
//
// Invariant: it knows nothing of workflows. Each call goes through the generated gateway to a grpc.ClientConnInterface,
// and so through the checks that any gRPC call passes.
package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

const (
	// maxBody bounds a request, like a message over gRPC.
	maxBody = 4 << 20
	// callTimeout bounds a call whose client named no time in a Grpc-Timeout header. It is above that of any long poll.
	callTimeout = 70 * time.Second
)

// NewAPI makes the HTTP/JSON API, at the paths that the API's annotations name: /api/v1/... and the older ones without
// that prefix. Payloads are shown as the JSON they hold where that is possible, and accepted so; the query parameters
// noPayloadShorthand and pretty change that.
//
// Writes that a browser sends on behalf of a page from elsewhere are refused.
func NewAPI(conn grpc.ClientConnInterface) (http.Handler, error) {
	mux, err := newGateway(conn, nil)
	if err != nil {
		return nil, err
	}
	return protect(mux), nil
}

// protect bounds requests in size and time and refuses writes across origins.
func protect(h http.Handler) http.Handler {
	bounded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if r.Header.Get("Grpc-Timeout") == "" {
			ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		h.ServeHTTP(w, r)
	})
	return http.NewCrossOriginProtection().Handler(bounded)
}

// newGateway makes the generated handlers over conn. announce is added to the headers of each call.
func newGateway(conn grpc.ClientConnInterface, announce metadata.MD) (http.Handler, error) {
	options := []runtime.ServeMuxOption{
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptReserved), // workflow IDs may contain slashes, as %2F
		runtime.WithIncomingHeaderMatcher(forwarded),
		runtime.WithMetadata(func(context.Context, *http.Request) metadata.MD { return announce }),
		runtime.WithErrorHandler(writeError),
	}
	for media, m := range marshalers() {
		options = append(options, runtime.WithMarshalerOption(media, m))
	}
	mux := runtime.NewServeMux(options...)
	err := workflowservice.RegisterWorkflowServiceHandlerClient(context.Background(), mux,
		workflowservice.NewWorkflowServiceClient(conn))
	if err == nil {
		err = operatorservice.RegisterOperatorServiceHandlerClient(context.Background(), mux,
			operatorservice.NewOperatorServiceClient(conn))
	}
	if err != nil {
		return nil, fmt.Errorf("web: register the gateway: %w", err)
	}
	return chooseFormat(mux), nil
}

// clientHeaders are the headers that mean the same over HTTP as over gRPC. The gateway adds authorization by itself.
var clientHeaders = []string{
	"authorization-extras", "caller-type", "client-name", "client-version",
	"supported-features", "supported-server-versions", "temporal-namespace",
}

// forwarded names the header that a header of HTTP becomes. Others, such as a browser's cookies, go no further.
func forwarded(header string) (string, bool) {
	lower := strings.ToLower(header)
	if name, ok := strings.CutPrefix(lower, "grpc-metadata-"); ok && name != "" {
		return name, true
	}
	return lower, slices.Contains(clientHeaders, lower)
}

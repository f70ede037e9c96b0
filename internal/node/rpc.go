package node

import (
	"time"

	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress what they send, and are answered in kind
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	inspectpb "github.com/perdure/perdure/api/inspect/v1"
)

const (
	// maxMessage is gRPC's own default; SDKs know the text of the refusal. Named since it is part of the contract.
	maxMessage = 4 << 20

	// connectionGrace is how long calls may go on over a connection that is old enough to be closed. It is longer than
	// the longest poll.
	connectionGrace = 70 * time.Second
)

// streamWorkers is how many goroutines handle one call after the other. A fresh goroutine has to grow its stack several
// times on the way through gRPC and a decompressor, which was 7 % of the server's CPU. A call that finds all of them busy,
// as with many polls, gets a goroutine of its own.
const streamWorkers = 256

// serviceNames are the services whose health is told, beside the server's as a whole.
var serviceNames = []string{
	"", workflowservice.WorkflowService_ServiceDesc.ServiceName, operatorservice.OperatorService_ServiceDesc.ServiceName,
	inspectpb.InspectService_ServiceDesc.ServiceName,
}

// newHealth is not serving until it is told otherwise.
func newHealth() *health.Server {
	h := health.NewServer()
	setHealth(h, healthpb.HealthCheckResponse_NOT_SERVING)
	return h
}

func setHealth(h *health.Server, s healthpb.HealthCheckResponse_ServingStatus) {
	for _, name := range serviceNames {
		h.SetServingStatus(name, s)
	}
}

func newGRPC(
	unary grpc.UnaryServerInterceptor, workflows workflowservice.WorkflowServiceServer,
	operators operatorservice.OperatorServiceServer, inspect inspectpb.InspectServiceServer, h *health.Server,
) *grpc.Server {
	s := grpc.NewServer(
		grpc.UnaryInterceptor(unary),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.NumStreamWorkers(streamWorkers),
		// SDKs ping every 30 s, also while nothing is called. gRPC's own minimum of 5 min would send them away.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: 2 * time.Minute, MaxConnectionAge: 5 * time.Minute, MaxConnectionAgeGrace: connectionGrace,
			Time: time.Minute, Timeout: 10 * time.Second,
		}),
	)
	workflowservice.RegisterWorkflowServiceServer(s, workflows)
	operatorservice.RegisterOperatorServiceServer(s, operators)
	inspectpb.RegisterInspectServiceServer(s, inspect)
	healthpb.RegisterHealthServer(s, h)
	reflection.Register(s)
	return s
}

package wiretest

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// rpc is a method of one of the services.
type rpc struct {
	path       string
	descriptor protoreflect.MethodDescriptor
}

func allRPCs() (all []rpc) {
	for _, file := range []protoreflect.FileDescriptor{
		workflowservice.File_temporal_api_workflowservice_v1_service_proto, operatorservice.File_temporal_api_operatorservice_v1_service_proto,
	} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				all = append(all, rpc{fmt.Sprintf("/%s/%s", service.FullName(), m.Name()), m})
			}
		}
	}
	return all
}

func newMessage(d protoreflect.MessageDescriptor) proto.Message {
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		panic(err) // the package of the service is linked in
	}
	return t.New().Interface()
}

// target is a server with something going on, at which requests are thrown.
type target struct {
	*rig
	rpcs     []rpc
	words    []string // strings that mean something here
	tokens   [][]byte
	canaries int
}

const canaryNamespace = "canary-namespace"

// newTarget has a run with a started workflow task (w), one with an activity at work (v) and a closed one (old).
func newTarget(t testing.TB) *target {
	g := &target{rig: newRig(t), rpcs: allRPCs()}
	_, err := g.RegisterNamespace(g.ctx, &workflowservice.RegisterNamespaceRequest{Namespace: canaryNamespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)})
	g.ok(err)
	old := g.start("old")
	g.take().complete(completeRun("done"))
	v := g.start("v")
	g.take().complete(schedule("a", withTimeouts(0, 0, 3600, 0)), schedule("b"), startTimer("t", time.Hour), startChild("c"))
	a := g.takeActivity()
	w := g.start("w")
	k := g.takeOf("w")
	page := must[*workflowservice.GetWorkflowExecutionHistoryResponse](g.rig)(g.GetWorkflowExecutionHistory(g.ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: ns, Execution: wf("old", ""), MaximumPageSize: 1,
	}))
	g.tokens = [][]byte{k.TaskToken, a.TaskToken, page.NextPageToken, k.TaskToken[:len(k.TaskToken)-1], []byte("x")}
	g.words = []string{
		ns, "w", "v", "old", "c", "q", "a", "t", w, v, old, "u/request", "u", "", "/_sys/q/1", "temporal-sys-per-ns-tq", strings.Repeat("x", 1001), "not-a-uuid", "* * * * *",
		"@every 1s", "WorkflowId = 'w'", "GROUP BY ExecutionStatus", "((", "Key", "Whole", "TemporalChangeVersion", "WorkflowId", "json/plain", "binary/null", "encoding", `"x"`, "null",
		"temporal-system", "TemporalTimeout:Heartbeat", "TemporalTimeout:X", "\x00", "é",
	}
	return g
}

// choices makes decisions out of bytes; when they are used up, every decision is the first.
type choices struct{ left []byte }

func (c *choices) next() int {
	if len(c.left) == 0 {
		return 0
	}
	b := c.left[0]
	c.left = c.left[1:]
	return int(b)
}

func (c *choices) of(n int) int { return c.next() % n }

// fill sets fields of m to values that are likely to get far.
func (g *target) fill(m protoreflect.Message, c *choices, depth int) {
	if m.Descriptor().FullName() == "google.protobuf.Any" {
		inner := []proto.Message{&updatepb.Request{}, &updatepb.Acceptance{}, &updatepb.Response{}, &updatepb.Rejection{}, &commonpb.Payload{}}[c.of(5)]
		g.fill(inner.ProtoReflect(), c, depth+1)
		if packed, err := anypb.New(inner); err == nil {
			proto.Merge(m.Interface(), packed)
		}
		return
	}
	if d, ok := m.Interface().(*durationpb.Duration); ok {
		d.Seconds = []int64{1, 0, 2, 60, 3600, 5, 1, 1, math.MaxInt64, -1}[c.of(10)]
		d.Nanos = []int32{0, 0, 0, 1, 5e8, 0, 0, -1}[c.of(8)]
		return
	}
	if command, ok := m.Interface().(*commandpb.Command); ok && c.of(8) > 0 {
		g.fillCommand(command, c, depth)
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if c.of(3) == 0 && !g.wanted(f) || depth > 6 {
			continue
		}
		switch {
		case f.IsMap():
			g.fillMap(m.Mutable(f).Map(), f, c, depth)
		case f.IsList():
			l := m.Mutable(f).List()
			for range 1 + c.of(3) {
				if f.Message() != nil {
					g.fill(l.AppendMutable().Message(), c, depth+1)
				} else {
					l.Append(g.scalar(f, c))
				}
			}
		case f.Message() != nil:
			g.fill(m.Mutable(f).Message(), c, depth+1)
		default:
			m.Set(f, g.scalar(f, c))
		}
	}
}

// fillCommand makes a command whose attributes are of its type.
func (g *target) fillCommand(command *commandpb.Command, c *choices, depth int) {
	variants := command.ProtoReflect().Descriptor().Oneofs().ByName("attributes").Fields()
	f := variants.Get(c.of(variants.Len()))
	g.fill(command.ProtoReflect().Mutable(f).Message(), c, depth+1)
	name := strings.ToUpper(strings.TrimSuffix(string(f.Name()), "_command_attributes"))
	command.CommandType = enumspb.CommandType(enumspb.CommandType_value["COMMAND_TYPE_"+name])
}

// wanted names fields without which nearly every request ends at once.
func (g *target) wanted(f protoreflect.FieldDescriptor) bool {
	switch f.Name() {
	case "namespace", "workflow_id", "task_token", "workflow_execution", "execution", "task_queue", "workflow_type", "activity_type", "name", "signal_name", "activity_id",
		"timer_id", "start_to_close_timeout", "start_to_fire_timeout", "query_type", "update_id", "meta", "input", "request", "marker_name":
		return f.ContainingOneof() == nil
	}
	return false
}

func (g *target) fillMap(m protoreflect.Map, f protoreflect.FieldDescriptor, c *choices, depth int) {
	for range 1 + c.of(2) {
		key := g.scalar(f.MapKey(), c).MapKey()
		if f.MapValue().Message() == nil {
			m.Set(key, g.scalar(f.MapValue(), c))
			continue
		}
		v := m.NewValue()
		g.fill(v.Message(), c, depth+1)
		m.Set(key, v)
	}
}

func (g *target) scalar(f protoreflect.FieldDescriptor, c *choices) protoreflect.Value {
	pick := c.next()
	number := []int64{1, 0, 2, 3, 5, -1, 256, math.MaxInt32, math.MinInt32}[pick%9]
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(pick%2 == 0)
	case protoreflect.EnumKind:
		values := f.Enum().Values()
		if pick == 255 {
			return protoreflect.ValueOfEnum(99)
		}
		return protoreflect.ValueOfEnum(values.Get(pick % values.Len()).Number())
	case protoreflect.StringKind:
		switch {
		case f.Name() == "namespace" && pick < 200:
			return protoreflect.ValueOfString(ns)
		case f.Name() == "workflow_id" && pick < 200:
			return protoreflect.ValueOfString(g.words[1+pick%4])
		case strings.HasSuffix(string(f.Name()), "run_id") && pick < 200:
			return protoreflect.ValueOfString([]string{"", g.words[8], g.words[9], g.words[10]}[pick%4])
		case f.Name() == "query" && pick < 200:
			return protoreflect.ValueOfString([]string{"", "WorkflowId = 'w'", "GROUP BY ExecutionStatus", "Key IS NULL OR Whole > 1"}[pick%4])
		case f.Name() == "cron_schedule" && pick < 200:
			return protoreflect.ValueOfString([]string{"", "* * * * *", "@every 1s", "CRON_TZ=Europe/Berlin 0 0 29 2 *"}[pick%4])
		case pick < 200:
			return protoreflect.ValueOfString(g.words[1+pick%7])
		}
		return protoreflect.ValueOfString(g.words[pick%len(g.words)])
	case protoreflect.BytesKind:
		if f.Name() == "task_token" && pick < 230 {
			if strings.Contains(string(f.Parent().Name()), "Activity") {
				return protoreflect.ValueOfBytes(g.tokens[1])
			}
			return protoreflect.ValueOfBytes(g.tokens[0])
		}
		if f.Name() == "next_page_token" && pick < 200 {
			return protoreflect.ValueOfBytes([][]byte{nil, g.tokens[2]}[pick%2])
		}
		return protoreflect.ValueOfBytes(g.tokens[pick%len(g.tokens)])
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{1, 0, 2, 0.5, -1, math.NaN(), math.Inf(1), math.MaxFloat64}[pick%8])
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32([]float32{1, 0, 0.5, -1, float32(math.NaN()), float32(math.Inf(-1))}[pick%6])
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(number))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(number))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(number))
	}
	if pick > 250 {
		number = math.MaxInt64 - int64(pick%2)
	}
	return protoreflect.ValueOfInt64(number)
}

// throw makes one call and checks that its answer is none of a server in trouble.
func (g *target) throw(method rpc, req proto.Message) codes.Code {
	ctx, cancel := context.WithTimeout(g.ctx, 5*time.Second)
	defer cancel()
	err := g.invoke(ctx, method.path, req, newMessage(method.descriptor.Output()))
	code := status.Code(err)
	switch code {
	case codes.Internal, codes.Unknown, codes.DataLoss, codes.Aborted:
		g.t.Errorf("%s answered %v to %v", method.path, err, req)
	}
	return code
}

// canary runs a workflow from its start to its end in a namespace that requests do not know of.
func (g *target) canary() {
	g.t.Helper()
	g.canaries++
	id, q := fmt.Sprint("canary-", g.canaries), queue("canary-queue")
	must[*workflowservice.StartWorkflowExecutionResponse](g.rig)(g.StartWorkflowExecution(g.ctx, startOf(id, func(s *startRequest) { s.Namespace, s.TaskQueue = canaryNamespace, q })))
	ctx, cancel := context.WithTimeout(g.ctx, pollTime)
	defer cancel()
	k := must[*workflowservice.PollWorkflowTaskQueueResponse](g.rig)(g.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: canaryNamespace, TaskQueue: q}))
	if k.GetWorkflowExecution().GetWorkflowId() != id {
		g.t.Fatalf("the canary's queue handed out %v", k)
	}
	_, err := g.RespondWorkflowTaskCompleted(g.ctx, &workflowservice.RespondWorkflowTaskCompletedRequest{TaskToken: k.TaskToken, Commands: []*commandpb.Command{completeRun("alive")}})
	g.ok(err)
	if got := list(g.storedIn(canaryNamespace, id, "")); got != "Started WFTScheduled WFTStarted WFTCompleted Completed" {
		g.t.Fatalf("the canary's history is %s", got)
	}
}

// script throws what the bytes say: pairs of a method and a request.
func (g *target) script(c *choices) {
	for range 8 {
		method := g.rpcs[(c.next()<<8|c.next())%len(g.rpcs)]
		req := newMessage(method.descriptor.Input())
		g.fill(req.ProtoReflect(), c, 0)
		g.throw(method, req)
		if len(c.left) == 0 {
			break
		}
	}
}

func TestEveryRPCSurvivesRandomRequests(t *testing.T) {
	const rounds, requests = 40, 10
	for part := range 4 {
		t.Run(fmt.Sprint("part ", part), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(7, uint64(part)))
				served, hot := theServed(t)
				for range rounds {
					g := newTarget(t)
					for range requests {
						m := served[rng.IntN(len(served))]
						if rng.IntN(2) == 0 {
							m = hot[rng.IntN(len(hot))]
						}
						choices := &choices{left: make([]byte, 20+rng.IntN(400))}
						for i := range choices.left {
							choices.left[i] = byte(rng.Uint32())
						}
						req := newMessage(m.descriptor.Input())
						g.fill(req.ProtoReflect(), choices, 0)
						answerable(req)
						g.throw(m, req)
					}
					g.canary()
					g.judge()
					g.stop()
				}
			})
		})
	}
}

// answerable fills in what is recorded as given, and that the grammar of histories wants: it judges the server.
func answerable(req proto.Message) {
	switch req := req.(type) {
	case *workflowservice.RespondWorkflowTaskFailedRequest:
		req.Cause = broken // some causes only make sense when they are the server's
	case *workflowservice.RespondActivityTaskFailedRequest:
		req.Failure = cmp.Or(req.Failure, application("Broken"))
	case *workflowservice.RespondActivityTaskFailedByIdRequest:
		req.Failure = cmp.Or(req.Failure, application("Broken"))
	case *workflowservice.ResetWorkflowExecutionRequest:
		req.Reason = cmp.Or(req.Reason, "reason")
	}
}

// theServed throws an empty request, and one with little in it, at every method. It returns those that are implemented,
// and of these the ones that do most.
func theServed(t testing.TB) (served, hot []rpc) {
	g := newTarget(t)
	for _, m := range g.rpcs {
		g.throw(m, newMessage(m.descriptor.Input()))
		req, name := newMessage(m.descriptor.Input()), string(m.descriptor.Name())
		g.fill(req.ProtoReflect(), &choices{}, 0)
		if strings.HasSuffix(name, "teNamespace") { // it would end most of what follows
			continue
		}
		if g.throw(m, req) == codes.Unimplemented {
			continue
		}
		served = append(served, m)
		for _, prefix := range []string{"RespondWorkflowTaskCompleted", "Respond", "Start", "Signal", "Execute", "Update", "Query"} {
			if strings.HasPrefix(name, prefix) {
				hot = append(hot, m)
			}
		}
	}
	g.canary()
	g.stop()
	return served, hot
}

// FuzzRPC throws requests at a server: a script of well-formed ones or, if raw, one made of the bytes as they are. The
// server must not panic, must not answer with an error of its own, and must serve others as if nothing had happened.
func FuzzRPC(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i, m := range allRPCs() {
		script := []byte{byte(i >> 8), byte(i)}
		for range 200 {
			script = append(script, byte(rng.Uint32()))
		}
		f.Add(false, uint16(i), script)
		if m.descriptor.Name() == "StartWorkflowExecution" {
			b, err := proto.Marshal(startOf("raw"))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(true, uint16(i), b)
		}
		f.Add(true, uint16(i), []byte("\x0a\x07default"))
	}
	f.Fuzz(func(t *testing.T, raw bool, method uint16, body []byte) {
		if len(body) > 4096 {
			t.Skip("nothing new in more")
		}
		synctest.Test(t, func(t *testing.T) {
			g := newTarget(t)
			if raw {
				m := g.rpcs[int(method)%len(g.rpcs)]
				req := newMessage(m.descriptor.Input())
				if proto.Unmarshal(body, req) != nil {
					return // gRPC itself refuses it
				}
				g.throw(m, req)
			} else {
				g.script(&choices{left: body})
			}
			g.canary()
		})
	})
}

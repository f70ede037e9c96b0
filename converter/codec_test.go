package converter_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/errordetails/v1"
	failurepb "go.temporal.io/api/failure/v1"
	protocolpb "go.temporal.io/api/protocol/v1"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/perdure/perdure/converter"
)

// wrap is a codec that puts brackets of its own around data.
type wrap struct{ left, right string }

func (w wrap) Encode(ps []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(ps))
	for i, p := range ps {
		out[i] = payload("test/wrap", w.left+string(p.GetData())+w.right)
	}
	return out, nil
}

func (w wrap) Decode(ps []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(ps))
	for i, p := range ps {
		inner, left := strings.CutPrefix(string(p.GetData()), w.left)
		inner, right := strings.CutSuffix(inner, w.right)
		if !left || !right {
			return nil, errors.New("not mine")
		}
		out[i] = payload("test/wrap", inner)
	}
	return out, nil
}

func one(p *commonpb.Payload) *commonpb.Payloads {
	return &commonpb.Payloads{Payloads: []*commonpb.Payload{p}}
}

// call sends req through the codecs to a server that is answer.
func call(t *testing.T, req, reply proto.Message, answer func(sent, reply proto.Message) error, codecs ...converter.Codec) error {
	t.Helper()
	intercept, err := converter.CodecInterceptor(codecs...)
	if err != nil {
		t.Fatal(err)
	}
	return intercept(t.Context(), "/service/Method", req, reply, nil,
		func(_ context.Context, _ string, req, reply any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			return answer(req.(proto.Message), reply.(proto.Message))
		})
}

func TestTheFirstCodecIsAppliedFirst(t *testing.T) {
	req := &workflowservice.StartWorkflowExecutionRequest{
		Input:            one(payload("json/plain", "1")),
		Memo:             &commonpb.Memo{Fields: map[string]*commonpb.Payload{"m": payload("json/plain", "2")}},
		Header:           &commonpb.Header{Fields: map[string]*commonpb.Payload{"h": payload("json/plain", "3")}},
		SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"S": payload("json/plain", "4")}},
	}
	before := proto.Clone(req)
	err := call(t, req, &workflowservice.StartWorkflowExecutionResponse{}, func(sent, _ proto.Message) error {
		got := sent.(*workflowservice.StartWorkflowExecutionRequest)
		for want, p := range map[string]*commonpb.Payload{
			"[(1)]": got.GetInput().GetPayloads()[0], "[(2)]": got.GetMemo().GetFields()["m"],
			"[(3)]": got.GetHeader().GetFields()["h"], "4": got.GetSearchAttributes().GetIndexedFields()["S"],
		} {
			if string(p.GetData()) != want {
				t.Errorf("sent %q, want %q", p.GetData(), want)
			}
		}
		return nil
	}, wrap{"(", ")"}, wrap{"[", "]"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, proto.Message(req), protocmp.Transform()); diff != "" {
		t.Errorf("the caller's request changed:\n%s", diff)
	}
}

func TestTheLastCodecDecodesFirst(t *testing.T) {
	reply := &workflowservice.QueryWorkflowResponse{}
	err := call(t, &workflowservice.QueryWorkflowRequest{}, reply, func(_, reply proto.Message) error {
		reply.(*workflowservice.QueryWorkflowResponse).QueryResult = one(payload("test/wrap", "[(1)]"))
		return nil
	}, wrap{"(", ")"}, wrap{"[", "]"})
	if err != nil || string(reply.GetQueryResult().GetPayloads()[0].GetData()) != "1" {
		t.Errorf("%v, %v", reply, err)
	}
}

func TestMessagesInsideAnyAreCoded(t *testing.T) {
	accepted, err := anypb.New(&updatepb.Response{Outcome: &updatepb.Outcome{Value: &updatepb.Outcome_Success{Success: one(payload("json/plain", "1"))}}})
	if err != nil {
		t.Fatal(err)
	}
	req := &workflowservice.RespondWorkflowTaskCompletedRequest{Messages: []*protocolpb.Message{{Body: accepted}}}
	err = call(t, req, &workflowservice.RespondWorkflowTaskCompletedResponse{}, func(sent, _ proto.Message) error {
		body := &updatepb.Response{}
		if err := sent.(*workflowservice.RespondWorkflowTaskCompletedRequest).GetMessages()[0].GetBody().UnmarshalTo(body); err != nil {
			return err
		}
		if data := body.GetOutcome().GetSuccess().GetPayloads()[0].GetData(); string(data) != "(1)" {
			t.Errorf("sent %q", data)
		}
		return nil
	}, wrap{"(", ")"})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPayloadsInErrorsAreDecoded(t *testing.T) {
	err := call(t, &workflowservice.QueryWorkflowRequest{}, &workflowservice.QueryWorkflowResponse{}, func(_, _ proto.Message) error {
		s, err := status.New(codes.InvalidArgument, "query failed").WithDetails(&errordetails.QueryFailedFailure{
			Failure: &failurepb.Failure{EncodedAttributes: payload("test/wrap", "(1)")},
		})
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}, wrap{"(", ")"})
	s := status.Convert(err)
	if s.Code() != codes.InvalidArgument || len(s.Details()) != 1 {
		t.Fatalf("status %v", s)
	}
	if got := s.Details()[0].(*errordetails.QueryFailedFailure).GetFailure().GetEncodedAttributes().GetData(); string(got) != "1" {
		t.Errorf("detail is %q", got)
	}
}

// broken is a codec that loses payloads, or fails.
type broken struct{ err error }

func (b broken) Encode([]*commonpb.Payload) ([]*commonpb.Payload, error) { return nil, b.err }

func (b broken) Decode([]*commonpb.Payload) ([]*commonpb.Payload, error) { return nil, b.err }

func TestACodecThatFailsFailsTheCall(t *testing.T) {
	why := errors.New("no key")
	for name, tc := range map[string]struct {
		codec broken
		want  string
	}{
		"error": {broken{why}, "no key"},
		"loss":  {broken{}, "1 payloads became 0"},
	} {
		t.Run(name, func(t *testing.T) {
			req := &workflowservice.SignalWorkflowExecutionRequest{Input: one(payload("json/plain", "1"))}
			err := call(t, req, &workflowservice.SignalWorkflowExecutionResponse{}, func(_, _ proto.Message) error {
				t.Error("the request was sent")
				return nil
			}, tc.codec)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "converter_test.broken") || errors.Is(err, why) != (tc.codec.err != nil) {
				t.Errorf("error is %v", err)
			}
		})
	}
	if _, err := converter.CodecInterceptor(nil); err == nil {
		t.Error("a nil codec was accepted")
	}
}

// zlibOfOne is the payload {encoding: json/plain, data: 1} compressed by another implementation.
const zlibOfOne = "\x78\x9c\xe3\x12\xe3\xe2\x48\xcd\x4b\xce\x4f\xc9\xcc\x4b\x17\xe2\xca\x2a\xce\xcf\xd3\x2f\xc8\x49\xcc\xcc\x13\x62\x34\x04\x00\x68\xfd\x07\xd7"

func TestZlibReadsWhatOthersWrite(t *testing.T) {
	got, err := converter.ZlibCodec{}.Decode([]*commonpb.Payload{payload("binary/zlib", zlibOfOne), payload("json/plain", "2")})
	if err != nil {
		t.Fatal(err)
	}
	want := []*commonpb.Payload{payload("json/plain", "1"), payload("json/plain", "2")}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestZlibLeavesWhatWouldGrow(t *testing.T) {
	small, large := payload("json/plain", "1"), payload("json/plain", strings.Repeat("a", 1000))
	for _, always := range []bool{false, true} {
		z := converter.ZlibCodec{AlwaysEncode: always}
		got, err := z.Encode([]*commonpb.Payload{small, large})
		if err != nil {
			t.Fatal(err)
		}
		if (got[0] == small) == always {
			t.Errorf("always %v: small payload became %v", always, got[0])
		}
		if !bytes.Equal(got[1].GetMetadata()["encoding"], []byte("binary/zlib")) || len(got[1].GetData()) > 100 {
			t.Errorf("large payload became %v", got[1])
		}
		back, err := z.Decode(got)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]*commonpb.Payload{small, large}, back, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestZlibReportsDamage(t *testing.T) {
	for _, data := range []string{"", "no zlib", zlibOfOne[:20]} {
		if _, err := (converter.ZlibCodec{}).Decode([]*commonpb.Payload{payload("json/plain", ""), payload("binary/zlib", data)}); err == nil || !strings.Contains(err.Error(), "payload 1") {
			t.Errorf("%q: %v", data, err)
		}
	}
}

func BenchmarkZlib(b *testing.B) {
	ps := []*commonpb.Payload{payload("json/plain", strings.Repeat("abcdefgh", 500))}
	b.ReportAllocs()
	for b.Loop() {
		encoded, err := converter.ZlibCodec{}.Encode(ps)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := (converter.ZlibCodec{}).Decode(encoded); err != nil {
			b.Fatal(err)
		}
	}
}

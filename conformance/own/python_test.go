package own

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/conformance/judge"
	"github.com/perdure/perdure/converter"
	"github.com/perdure/perdure/embedded"
	"github.com/perdure/perdure/failure"
	"github.com/perdure/perdure/worker"
	"github.com/perdure/perdure/workflow"
)

// expected is what happens in every pair of languages: the steps of story_test.go and python/talk.py, and their outcomes in JSON.
var expected = []struct{ step, outcome string }{
	{"signal without argument", `"touch"`},
	{"signal with one argument", `"remark größer als ½ ✓"`},
	{"signal with an object", `"put pear ½"`},
	{"signal with several arguments", `"move pear 2 true"`},
	{"signal with bytes", `"raw 4"`},
	{"signal with nothing in its argument", `"note"`},
	{"dynamic signal", `"signal AnySignal 2 {\"x\":1}"`},
	{"query without argument", `7`},
	{"query with several arguments", `[true,false]`},
	{"query for an object", `{"count":3,"extra":{"pip":5},"note":null,"owner":{"age":36,"name":"Ada"},"price":2.5,"tags":["ripe","green"],"title":"pear ½","when":"2024-02-29T12:34:56.789012Z"}`},
	{"query for bytes", `[0,1,254,255]`},
	{"query for nothing", `null`},
	{"query that fails", `"failed, as it should"`},
	{"dynamic query", `"query AnyQuery 2"`},
	{"query to nobody", `"not found"`},
	{"update", `{"left":2,"name":"pear ½"}`},
	{"update with an object and without a result", `null`},
	{"update with bytes", `[0,255]`},
	{"update with nothing", `null`},
	{"update rejected by its validator", `["application BadCount: the count has to be positive, not 0 [0] retryable"]`},
	{"update that fails", `["application NotEnough: only 5 of pear ½ [{\"left\":5,\"name\":\"pear ½\"}] final"]`},
	{"dynamic update", `"update AnyUpdate 3"`},
	{"update accepted now and answered later", `"touch"`},
	{"the same, asked for by its ID", `true`},
	{"type in the metadata", `"Ledger"`},
	{"signals in the metadata", `["","Burn","Close","Move","Note","Put","Raw","Remark","Touch"]`},
	{"queries in the metadata", `["","Bytes","Has","Last","Lines","Noted","Weigh","Who"]`},
	{"updates in the metadata", `["","Call","Child","EchoBytes","EchoNote","Fill","Header","Later","Stop","Take","Tell","WaitFor"]`},
	{"stack trace", `[true,true,true]`},
	{"headers of start and query", `["a client","a client"]`},
	{"header of an update", `"a client"`},
	{"header of a signal", `"remark hello from a client"`},
	{"no header", `""`},
	{"header of an activity", `["\"a workflow\""]`},
	{"signal-with-start, running", `"remark again, same run"`},
	{"signal-with-start, not running", `"move plum 5 false"`},
	{"update-with-start, running", `[{"left":4,"name":"pear ½"},"same run"]`},
	{"update-with-start, not running", `["application NotEnough: only 0 of pear ½ [{\"left\":0,\"name\":\"pear ½\"}] final"]`},
	{"update-with-start, rejected", `[["application BadCount: the count has to be positive, not -1 [-1] retryable"],"RUNNING"]`},
	{"activity with an object and bytes", `["pear ½","2024-02-29T12:34:56.789012Z","true"]`},
	{"activity that goes on where its heartbeat left off", `["\"half\"","{\"step\":2}"]`},
	{"activity that fails", `["activity Break","application Burnt: the ledger burnt [{\"pages\":3},\"all\"] final","application Spark: a spark [[1,2]] retryable"]`},
	{"activity that times out", `["activity Slow","timeout START_TO_CLOSE"]`},
	{"activity that is canceled", `["activity Sleep","canceled []"]`},
	{"activity that is completed from outside", `["pear ½","true"]`},
	{"activity that is failed from outside", `["activity Later","application Burnt: the ledger burnt [{\"pages\":3},\"all\"] final","application Spark: a spark [[1,2]] retryable"]`},
	{"activity that is canceled from outside", `["activity Later","canceled [\"given up\",7]"]`},
	{"child: complete", `["pear ½ copied","ripe","green"]`},
	{"child: fail", `["child Scribe","application Burnt: the ledger burnt [{\"pages\":3},\"all\"] final","application Spark: a spark [[1,2]] retryable"]`},
	{"child: cancel", `["child Scribe","canceled []"]`},
	{"child: signal", `["pear ½ copied","ho","ho"]`},
	{"signal to a workflow of the other language", `["told","remark from afar from a workflow"]`},
	{"signal from a workflow of the other language", `["told","remark from far away from a workflow"]`},
	{"signal to nobody", `["nobody there"]`},
	{"workflow of the other language canceled", `[["stopped"],["canceled []"]]`},
	{"result", `["Ada",17]`},
	{"query after the end", `true`},
	{"signal after the end", `"not found"`},
	{"a workflow that fails", `["application Burnt: the ledger burnt [{\"pages\":3},\"all\"] final","application Spark: a spark [[1,2]] retryable"]`},
	{"a workflow that is cancelled", `["canceled []"]`},
	{"a workflow that is terminated", `["terminated"]`},
}

// xor is encryption that a child can break.
type xor struct{}

func (xor) Encode(ps []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(ps))
	for i, p := range ps {
		b, err := proto.Marshal(p)
		if err != nil {
			return nil, err
		}
		out[i] = &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/xor")}, Data: flipped(b)}
	}
	return out, nil
}

func (xor) Decode(ps []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(ps))
	for i, p := range ps {
		out[i] = p
		if string(p.Metadata["encoding"]) == "binary/xor" {
			out[i] = &commonpb.Payload{}
			if err := proto.Unmarshal(flipped(p.Data), out[i]); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func flipped(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[i] = c ^ 0x5a
	}
	return out
}

// town is a server with a worker in Go and one in Python.
type town struct {
	addr, python string
	codec        bool
	c, named     *client.Client
	goQ, pythonQ string
}

// newTown starts it all. The Python packages come from python/venv.sh.
func newTown(t *testing.T, addr string, codec bool) *town {
	t.Helper()
	v := &town{addr: addr, codec: codec, goQ: uuid.NewString(), pythonQ: uuid.NewString()}
	var complaints bytes.Buffer
	find := exec.Command("python/venv.sh")
	find.Stderr = &complaints
	found, err := find.Output()
	if err != nil {
		t.Fatalf("no Python: %v\n%s", err, &complaints)
	}
	v.python = strings.TrimSpace(string(found))
	v.c, v.named = v.dial(t), v.dial(t, client.InterceptorFunc(naming))
	v.goWorker(t)
	v.pythonWorker(t)
	return v
}

func (v *town) dial(t *testing.T, outbound ...client.Interceptor) *client.Client {
	t.Helper()
	o := client.Options{Address: v.addr, Logger: slog.New(slog.DiscardHandler), Outbound: outbound}
	if v.codec {
		o.Codecs = []converter.Codec{xor{}}
		o.Failures = failure.Default(converter.Default(), failure.Options{EncodeCommonAttributes: true})
	}
	c, err := client.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (v *town) goWorker(t *testing.T) {
	t.Helper()
	send := func(_ workflow.Context, call *workflow.Call) {
		if call.Kind == workflow.CallActivity || call.Kind == workflow.CallSignalWorkflow {
			call.Header["who"], _ = converter.Default().ToPayload("a workflow")
		}
	}
	w := worker.New(v.c, v.goQ, worker.Options{Interceptors: []workflow.Interceptor{{Send: send}}})
	worker.Workflow[*Ledger](w)
	worker.Workflow[*Scribe](w)
	w.Activity(&Chores{v.c})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

func (v *town) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, v.python, append([]string{"python/talk.py"}, args...)...)
	c.Env = append(os.Environ(), "PERDURE_TEST_ADDR="+v.addr, "PYTHONDONTWRITEBYTECODE=1")
	if v.codec {
		c.Env = append(c.Env, "PERDURE_TEST_CODEC=xor")
	}
	return c
}

// pythonWorker starts one and waits until it works. It ends with its standard input.
func (v *town) pythonWorker(t *testing.T) {
	t.Helper()
	c := v.command(context.Background(), "worker", v.pythonQ)
	var complaints bytes.Buffer
	c.Stderr = &complaints
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("the Python worker says:\n%s", &complaints)
		}
	})
	if line, _ := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != "working" {
		t.Fatalf("the Python worker does not work: %q\n%s", line, &complaints)
	}
}

// pythonStory lets a Python client go through the steps.
func (v *town) pythonStory(t *testing.T, ctx context.Context, queue, other, prefix string) []step {
	t.Helper()
	c := v.command(ctx, "client", queue, other, prefix)
	var out, complaints bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaints
	if err := c.Run(); err != nil {
		t.Errorf("%v\n%s", err, &complaints)
	}
	var told []step
	for d := json.NewDecoder(&out); ; {
		var s step
		if err := d.Decode(&s); err != nil {
			return told
		}
		told = append(told, s)
	}
}

// check compares what a story told with what is expected, each step by itself.
func check(t *testing.T, told []step) {
	t.Helper()
	for i, want := range expected {
		t.Run(want.step, func(t *testing.T) {
			if i >= len(told) || told[i].Step != want.step {
				t.Fatal("the story does not get there")
			}
			// In Go, fields are in the order of the struct's.
			var v any
			if err := json.Unmarshal([]byte(plain(told[i].Outcome)), &v); err != nil {
				t.Fatal(err)
			}
			if got := plain(v); got != want.outcome {
				t.Errorf("got  %s\nwant %s", got, want.outcome)
			}
		})
	}
	if len(told) != len(expected) {
		t.Errorf("%d steps, want %d", len(told), len(expected))
	}
}

// workflows of a story, and which of them are those of the other language.
var storyParts = map[string]bool{
	"a": false, "b": false, "c": false, "d": false, "h": false,
	"other": true, "a/complete": true, "a/fail": true, "a/cancel": true, "a/signal": true,
}

// judged looks at every history of a story. Those of Go workflows are replayed.
func (v *town) judged(t *testing.T, prefix string, goIsOther bool) {
	t.Helper()
	p := worker.NewReplayer()
	worker.ReplayWorkflow[*Ledger](p)
	worker.ReplayWorkflow[*Scribe](p)
	for part, other := range storyParts {
		t.Run("history of "+part, func(t *testing.T) {
			var events []*historypb.HistoryEvent
			for e, err := range v.c.Handle(prefix+part, "").History(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				events = append(events, e)
			}
			for _, fault := range judge.History(events) {
				t.Error(fault)
			}
			if other == goIsOther {
				if err := p.Events(events); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestPythonAndGo tells one story for every pair of client and worker. That of Python with itself shows that it is the
// official SDK's.
func TestPythonAndGo(t *testing.T) {
	addr := os.Getenv("PERDURE_TEST_ADDR")
	if addr == "" {
		db, err := embedded.Open(context.Background(), embedded.Options{Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		addr = db.Addr()
	}
	for _, codec := range []bool{false, true} {
		name := "plain"
		if codec {
			name = "encrypted"
		}
		t.Run(name, func(t *testing.T) {
			v := newTown(t, addr, codec)
			for _, language := range []string{"Go", "Python"} {
				queue, other := v.goQ, v.pythonQ
				if language == "Python" {
					queue, other = other, queue
				}
				prefix := func() string { return uuid.NewString() + "/" }
				t.Run("Python client, "+language+" workflow", func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					id := prefix()
					check(t, v.pythonStory(t, ctx, queue, other, id))
					v.judged(t, id, language == "Python")
				})
				for how, voice := range map[string]voice{"typed": typed, "by name": byName} {
					t.Run("Go client, "+how+", "+language+" workflow", func(t *testing.T) {
						ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
						defer cancel()
						s := &story{voice: voice, ctx: ctx, c: v.c, named: v.named, queue: queue, other: other, prefix: prefix()}
						if err := s.tell(); err != nil {
							t.Error(err)
						}
						check(t, s.told)
						v.judged(t, s.prefix, language == "Python")
					})
				}
			}
		})
	}
}

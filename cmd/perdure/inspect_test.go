package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/perdure/perdure/internal/node"
)

// serving is the address of a node with workflow "w", which was sent a signal, once and again, with a name that a
// terminal must not get as it is.
func serving(t *testing.T) string {
	t.Helper()
	n, err := node.New(t.Context(), node.Config{GRPC: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-n.Ready()
	c := workflowservice.NewWorkflowServiceClient(n.Conn())
	_, err = c.StartWorkflowExecution(ctx, &workflowservice.StartWorkflowExecutionRequest{Namespace: "default", WorkflowId: "w", RequestId: "s",
		WorkflowType: &commonpb.WorkflowType{Name: "T"}, TaskQueue: &taskqueuepb.TaskQueue{Name: "nobody's"}})
	for range 2 {
		if err == nil {
			_, err = c.SignalWorkflowExecution(ctx, &workflowservice.SignalWorkflowExecutionRequest{Namespace: "default",
				WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: "w"}, SignalName: "\x1b[2Jadd", RequestId: "r", Identity: "me"})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return n.GRPCAddr()
}

func TestMessagesAndWorkflowsAreExplained(t *testing.T) {
	address := serving(t)
	for _, c := range []struct {
		args   string
		status int
		says   []string
	}{
		{"message list -w w", exitOK, []string{"MESSAGE", `"\x1b[2Jadd"`, "me", "received, repeated", "r\n"}},
		{"message list -w w --kind update", exitOK, []string{"no message is known"}},
		{"message explain -w w r", exitOK, []string{"came from me", "it was sent again, was recognised, and was not applied again", "no worker polls that queue"}},
		{"message explain -w w never", exitFailed, []string{`no message "never" is known of workflow "w"`}},
		{"workflow explain -w w", exitOK, []string{"something has to be done", `on task queue "nobody's"`, "no worker polls"}},
		{"workflow explain -w nobody", exitFailed, []string{"workflow not found for ID: nobody"}},
		{"workflow explain", exitUsage, []string{"--workflow-id is missing"}},
		{"message list -w w --kind letter", exitUsage, []string{`--kind "letter" is none of signal, update, cancel`}},
		{"message list -w w --limit 0", exitUsage, []string{"--limit 0 is not between 1 and 1000"}},
	} {
		status, stdout, stderr := call(t, append(strings.Fields(c.args), "--address", address)...)
		out := stdout + stderr
		for _, want := range c.says {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in:\n%s", c.args, want, out)
			}
		}
		if status != c.status || strings.Contains(out, "\x1b") {
			t.Errorf("%s: status %d, want %d: %q", c.args, status, c.status, out)
		}
	}
	_, stdout, _ := call(t, "message", "list", "-w", "w", "--json", "--address", address)
	if !json.Valid([]byte(stdout)) {
		t.Errorf("not JSON: %s", stdout)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"

	sdk "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/ingress"
	"github.com/restatedev/sdk-go/server"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errTemporal is what Restate would say to calls that only Temporal's API has.
var errTemporal = status.Error(codes.Unimplemented, "Restate is measured with chains only")

// restateDriver uses the SDK of Restate, whose servers call the workers, over HTTP/2, where ours and Temporal's are polled.
type restateDriver struct {
	watch      *watch
	logs       slog.Handler
	admin      string // URL of the API where services are made known
	http       *http.Client
	callers    *ingress.Client
	worker     *http.Server // nil until there is one
	deployment string       // what the server calls the worker
}

// manyCallers is more than there ever are: each keeps its connection between calls.
const manyCallers = 10_000

func newRestate(s *settings, t *target, w *watch) *restateDriver {
	d := &restateDriver{watch: w, logs: s.logs(), admin: "http://" + t.admin}
	d.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: manyCallers}}
	d.callers = ingress.NewClient("http://"+t.address, ingress.WithHttpClient(d.http))
	return d
}

// startWorkers serves the workflow on a port of its own and tells the server, which asks at once what there is.
func (d *restateDriver) startWorkers() error {
	chain := sdk.NewWorkflow(chainName).Handler("run", sdk.NewWorkflowHandler(restateChain(d.watch)))
	handler, err := server.NewRestate().WithLogger(d.logs, true).Bind(chain).Handler()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	worker := &http.Server{Handler: handler, Protocols: new(http.Protocols), ErrorLog: slog.NewLogLogger(d.logs, slog.LevelWarn)}
	worker.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = worker.Serve(l) }() // it ends when it is closed
	d.worker = worker

	var made struct{ ID string }
	// Forced: the port may have been that of an earlier worker.
	err = d.administer(http.MethodPost, "/deployments", map[string]any{"uri": "http://" + l.Addr().String(), "force": true}, &made)
	d.deployment = made.ID
	return err
}

func (d *restateDriver) stopWorkers() {
	if d.worker != nil {
		_ = d.worker.Close()
		d.worker = nil
	}
}

func (d *restateDriver) dropCache() error { return errTemporal }

// close makes the server forget the worker, which nobody else would answer for.
func (d *restateDriver) close() error {
	defer d.http.CloseIdleConnections()
	if d.deployment == "" {
		return nil
	}
	return d.administer(http.MethodDelete, "/deployments/"+d.deployment+"?force=true", nil, nil)
}

// administer makes a call of the admin API.
func (d *restateDriver) administer(method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(method, d.admin+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := d.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return err
	case answer.StatusCode/100 != 2:
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	case out == nil:
		return nil
	}
	return json.Unmarshal(text, out)
}

// chain is one call, which the server answers when the workflow has ended: that is how its users wait for one.
func (d *restateDriver) chain(ctx context.Context, id string, in chainInput) (execution, error) {
	if d.worker == nil {
		return nil, errTemporal // a workflow that waits for a worker: the server has not heard of the type
	}
	t, err := ingress.Workflow[chainInput, tally](d.callers, chainName, id, "run").Request(ctx, in)
	return restateRun{id, t}, err
}

func (d *restateDriver) nap(context.Context, string, napInput) (execution, error) {
	return nil, errTemporal
}

func (d *restateDriver) ledger(context.Context, string, ledgerInput) (ledger, error) {
	return nil, errTemporal
}

func (d *restateDriver) signalWithStart(context.Context, string, ledgerInput, note) (ledger, error) {
	return nil, errTemporal
}

func (d *restateDriver) service() workflowservice.WorkflowServiceClient {
	return workflowservice.NewWorkflowServiceClient(noConnection{})
}

// noConnection answers as a server does that knows none of the calls.
type noConnection struct{}

func (noConnection) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return errTemporal
}

func (noConnection) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errTemporal
}

// restateRun is a chain that has ended.
type restateRun struct {
	id    string
	tally tally
}

func (r restateRun) workflowID() string                    { return r.id }
func (r restateRun) runID() string                         { return "" } // there is one run of an ID
func (r restateRun) result(context.Context) (tally, error) { return r.tally, nil }

// restateChain is officialChain with the SDK of Restate. Its steps run where the workflow does, and their results are kept.
func restateChain(w *watch) sdk.WorkflowHandlerFn[chainInput, tally] {
	return func(ctx sdk.WorkflowContext, in chainInput) (tally, error) {
		t := tally{Sum: in.First.weight()}
		for k := range in.Steps {
			weight, err := sdk.Run(ctx, func(ctx sdk.RunContext) (int64, error) { return w.step(ctx, in.step(k)) }, sdk.WithName(stepName))
			if err != nil {
				return t, err
			}
			t.Count++
			t.Sum += weight
		}
		return t, nil
	}
}

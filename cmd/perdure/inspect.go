package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	inspectpb "github.com/perdure/perdure/api/inspect/v1"
)

// clientFlags are what commands that ask a running server have in common.
type clientFlags struct {
	address, namespace, workflow, run string
	timeout                           time.Duration
	json                              bool
}

func (f *clientFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.address, "address", cmp.Or(os.Getenv("TEMPORAL_ADDRESS"), "localhost:"+strconv.Itoa(defaultPort)),
		"host:port of the server's gRPC (TEMPORAL_ADDRESS)")
	flags.StringVarP(&f.namespace, "namespace", "n", cmp.Or(os.Getenv("TEMPORAL_NAMESPACE"), "default"), "namespace (TEMPORAL_NAMESPACE)")
	flags.StringVarP(&f.workflow, "workflow-id", "w", "", "workflow ID")
	flags.StringVarP(&f.run, "run-id", "r", "", "run ID")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the server")
	flags.BoolVar(&f.json, "json", false, "print the server's answer as JSON")
}

// ask calls the server of the flags. All that can be asked is about one workflow.
func ask[Req any, Resp proto.Message](c *cobra.Command, f *clientFlags, method func(inspectpb.InspectServiceClient, context.Context, Req, ...grpc.CallOption) (Resp, error), req Req) (Resp, error) {
	var none Resp
	if f.workflow == "" {
		return none, usagef("--workflow-id is missing")
	}
	conn, err := grpc.NewClient(f.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return none, usagef("--address %q: %w", f.address, err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(c.Context(), f.timeout)
	defer cancel()
	resp, err := method(inspectpb.NewInspectServiceClient(conn), ctx, req)
	switch s := status.Convert(err); {
	case err == nil:
		return resp, nil
	case s.Code() == codes.Unimplemented:
		return none, fmt.Errorf("the server at %s is not a Perdure server of this version: it cannot explain", f.address)
	case s.Code() == codes.Unavailable || s.Code() == codes.DeadlineExceeded:
		return none, fmt.Errorf("no answer from %s: %s", f.address, s.Message())
	default:
		return none, fmt.Errorf("%s", s.Message())
	}
}

func printJSON(out io.Writer, m proto.Message) error {
	b, err := protojson.MarshalOptions{Multiline: true}.Marshal(m)
	if err == nil {
		_, err = fmt.Fprintf(out, "%s\n", b)
	}
	return err
}

func newMessage() *cobra.Command {
	c := &cobra.Command{
		Use:   "message",
		Short: "Look at the messages to workflows: signals, updates and cancel requests",
		Args:  cobra.ArbitraryArgs,
		RunE:  onlySubcommands,
	}
	c.AddCommand(newMessageList(), newMessageExplain())
	return c
}

func onlySubcommands(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown command %q for %s", args[0], c.CommandPath())
	}
	return c.Help()
}

var kindWords = map[string]inspectpb.MessageKind{
	"": inspectpb.MessageKind_MESSAGE_KIND_UNSPECIFIED, "signal": inspectpb.MessageKind_MESSAGE_KIND_SIGNAL,
	"update": inspectpb.MessageKind_MESSAGE_KIND_UPDATE, "cancel": inspectpb.MessageKind_MESSAGE_KIND_CANCEL,
}

func newMessageList() *cobra.Command {
	var (
		flags      clientFlags
		kind, name string
		limit      int32
	)
	c := &cobra.Command{
		Use:   "list -w WORKFLOW-ID",
		Short: "List the messages to a workflow, newest first",
		Long: `List the messages to a workflow, newest first: signals, updates and cancel requests of all its runs that are kept,
also those that were repeated, refused or rejected and are not in history. MESSAGE is what "message explain" takes.`,
		Args: noArgs,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		k, ok := kindWords[kind]
		if !ok {
			return usagef("--kind %q is none of signal, update, cancel", kind)
		}
		if limit < 1 || limit > 1000 {
			return usagef("--limit %d is not between 1 and 1000", limit)
		}
		resp, err := ask(c, &flags, inspectpb.InspectServiceClient.ListMessages, &inspectpb.ListMessagesRequest{
			Namespace: flags.namespace, WorkflowId: flags.workflow, RunId: flags.run, Kind: k, Name: name, PageSize: limit,
		})
		if err != nil {
			return err
		}
		if flags.json {
			return printJSON(c.OutOrStdout(), resp)
		}
		return printMessages(c.OutOrStdout(), resp)
	}
	flags.register(c.Flags())
	c.Flags().StringVar(&kind, "kind", "", "only signal, update or cancel")
	c.Flags().StringVar(&name, "name", "", "only messages of this name")
	c.Flags().Int32Var(&limit, "limit", 100, "at most so many")
	return c
}

func printMessages(out io.Writer, resp *inspectpb.ListMessagesResponse) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "MESSAGE\tTIME\tKIND\tNAME\tFROM\tSTAGES\tID")
	for _, m := range resp.Messages {
		if len(m.Stages) == 0 {
			continue
		}
		stages := make([]string, len(m.Stages))
		for i, s := range m.Stages {
			stages[i] = strings.ToLower(strings.TrimPrefix(s.Stage.String(), "MESSAGE_STAGE_"))
		}
		from := m.Identity
		if m.FromWorkflowId != "" {
			from = "workflow " + m.FromWorkflowId
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", reference(m), m.Stages[0].Time.AsTime().UTC().Format("2006-01-02 15:04:05.000Z"),
			strings.ToLower(strings.TrimPrefix(m.Kind.String(), "MESSAGE_KIND_")), shown(m.Name), shown(from), collapse(stages), shown(m.Id))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(resp.Messages) == 0 {
		_, _ = fmt.Fprintln(out, "no message is known")
	}
	if len(resp.NextPageToken) > 0 {
		_, _ = fmt.Fprintln(out, "there are older ones: see --limit")
	}
	return nil
}

// shown is a text that comes from clients, fit for a terminal and a column.
func shown(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}

// printable is s, in quotes if it has anything but printable characters.
func printable(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}

// reference is how a message is named on the command line: the run and its number there.
func reference(m *inspectpb.Message) string { return fmt.Sprintf("%s/%d", m.RunId, m.Number) }

// collapse joins stages; a row of the same one is counted.
func collapse(stages []string) string {
	var out []string
	for i := 0; i < len(stages); {
		j := i
		for j < len(stages) && stages[j] == stages[i] {
			j++
		}
		if j-i > 1 {
			out = append(out, fmt.Sprintf("%s×%d", stages[i], j-i))
		} else {
			out = append(out, stages[i])
		}
		i = j
	}
	return strings.Join(out, ", ")
}

// plain keeps control characters, which clients can put into names, from the terminal.
func plain(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '\uFFFD'
}

func newMessageExplain() *cobra.Command {
	var flags clientFlags
	c := &cobra.Command{
		Use:   "explain -w WORKFLOW-ID MESSAGE",
		Short: "Tell the story of one message",
		Long: `Tell the story of one message in sentences: who sent it, which run took it, which worker got it, what became of it, and
if nothing did, why. MESSAGE is an update ID, a signal's request ID, or what "message list" prints in its first column.`,
		Args: oneArg("a message's ID"),
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		req := &inspectpb.ExplainMessageRequest{Namespace: flags.namespace, WorkflowId: flags.workflow, RunId: flags.run, Id: args[0]}
		if run, number, ok := strings.Cut(args[0], "/"); ok && len(run) == 36 {
			if n, err := strconv.ParseInt(number, 10, 64); err == nil {
				req.RunId, req.Number, req.Id = run, n, ""
			}
		}
		resp, err := ask(c, &flags, inspectpb.InspectServiceClient.ExplainMessage, req)
		if err != nil {
			return err
		}
		if flags.json {
			return printJSON(c.OutOrStdout(), resp)
		}
		for _, s := range resp.Sentences {
			_, _ = fmt.Fprintln(c.OutOrStdout(), strings.Map(plain, s))
		}
		return nil
	}
	flags.register(c.Flags())
	return c
}

func newWorkflow() *cobra.Command {
	c := &cobra.Command{
		Use:   "workflow",
		Short: "Look at workflows",
		Args:  cobra.ArbitraryArgs,
		RunE:  onlySubcommands,
	}
	c.AddCommand(newWorkflowExplain())
	return c
}

func newWorkflowExplain() *cobra.Command {
	var flags clientFlags
	c := &cobra.Command{
		Use:   "explain -w WORKFLOW-ID",
		Short: "Say why a workflow does not go on, or what it waits for",
		Long: `Say why a workflow does not go on, or what it waits for: no worker on a task queue, a workflow task that fails and
how, an activity, a timer, a child, a message. Exit status 1 if the server cannot tell.`,
		Args: noArgs,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		resp, err := ask(c, &flags, inspectpb.InspectServiceClient.ExplainWorkflow, &inspectpb.ExplainWorkflowRequest{
			Namespace: flags.namespace, WorkflowId: flags.workflow, RunId: flags.run,
		})
		if err != nil {
			return err
		}
		if flags.json {
			return printJSON(c.OutOrStdout(), resp)
		}
		_, _ = fmt.Fprintln(c.OutOrStdout(), strings.Map(plain, resp.Summary))
		for _, f := range resp.Findings {
			if strings.HasSuffix(resp.Summary, f.Text) {
				continue // said
			}
			mark := "-"
			if f.Stuck {
				mark = "!"
			}
			_, _ = fmt.Fprintf(c.OutOrStdout(), "%s %s\n", mark, strings.Map(plain, f.Text))
		}
		return nil
	}
	flags.register(c.Flags())
	return c
}

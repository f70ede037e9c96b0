package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// asProgram makes the test binary the program itself.
const asProgram = "PERDURE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// call runs the program in this process.
func call(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

// process is the program in a process of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	line   string // the first it printed
	rest   chan string
	stderr *bytes.Buffer // read it after the end
}

func launch(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, rest: make(chan string, 1), stderr: new(bytes.Buffer)}
	p.cmd = exec.CommandContext(t.Context(), os.Args[0], args...)
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stderr = p.stderr
	pipe, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(pipe)
	if p.line, err = out.ReadString('\n'); err != nil {
		t.Fatalf("nothing was announced: %v; %v; %s", err, p.cmd.Wait(), p.stderr)
	}
	go func() {
		rest, _ := io.ReadAll(out)
		p.rest <- string(rest)
	}()
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			<-p.rest
			_ = p.cmd.Wait()
		}
	})
	return p
}

// end sends a signal and returns the exit status and what else was printed.
func (p *process) end(s os.Signal) (status int, stdout string) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	stdout = <-p.rest
	_ = p.cmd.Wait() // its error is the status
	return p.cmd.ProcessState.ExitCode(), stdout
}

// served is the address that follows what in the announcement.
func (p *process) served(what string) string {
	p.t.Helper()
	m := regexp.MustCompile(regexp.QuoteMeta(what) + ` on (?:http://)?([^,; /]+)`).FindStringSubmatch(p.line)
	if m == nil {
		p.t.Fatalf("%q does not say where %s is", p.line, what)
	}
	return m[1]
}

func (p *process) client() workflowservice.WorkflowServiceClient {
	p.t.Helper()
	conn, err := grpc.NewClient(p.served("gRPC"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return workflowservice.NewWorkflowServiceClient(conn)
}

func TestUsageErrorsExitWithTwoAndSayWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"frobnicate", `unknown command "frobnicate"`},
		{"server --frobnicate", "unknown flag: --frobnicate"},
		{"server extra", `takes no argument, got "extra"`},
		{"server --port x", "invalid argument"},
		{"server --port 70000", "--port 70000 is not a port"},
		{"server --port -1", "--port -1 is not a port"},
		{"server --sync maybe", `--sync "maybe"`},
		{"server --log-level loud", `--log-level "loud"`},
		{"server --log-format xml", `--log-format "xml"`},
		{"server --limit limit.maxIDLength", "not of the form NAME=VALUE"},
		{"server --limit limit.maxIDLength=many", "not a whole number"},
		{"server --limit no.such=1", "unknown name no.such"},
		{"server --limit limit.historyCount.suggestContinueAsNew=60000", "a run ends at 51200"},
		{"server --cache 0", "not a number of MiB"},
		{"server start-dev --search-attribute A", "not of the form NAME=TYPE"},
		{"server start-dev --search-attribute A=Vector", "the type is none of"},
		{"server start-dev --namespace=", "--namespace is empty"},
		{"server start-dev --dynamic-config-value limit.maxIDLength=0", "not a whole number"},
		{"server start-dev --dynamic-config-value frontend.enableServerVersionCheck=true", "only false"},
		{"backup", "takes one argument"},
		{"check a", "takes no argument"},
		{"version a", "takes no argument"},
	} {
		status, stdout, stderr := call(t, strings.Fields(c.args)...)
		if status != exitUsage || stdout != "" || !strings.Contains(stderr, c.want) || !strings.Contains(stderr, "--help") {
			t.Errorf("perdure %s: status %d, stdout %q, stderr %q, want %q", c.args, status, stdout, stderr, c.want)
		}
	}
}

func TestHelpNamesWhatSDKsPassToADevelopmentServer(t *testing.T) {
	status, stdout, stderr := call(t, "server", "start-dev", "--help")
	if status != exitOK || stderr != "" {
		t.Fatalf("status %d, %s", status, stderr)
	}
	flags := regexp.MustCompile(`(?m)^ .*?--([a-z-]+)`).FindAllStringSubmatch(stdout, -1)
	var got []string
	for _, f := range flags {
		if f[1] != "help" {
			got = append(got, f[1])
		}
	}
	slices.Sort(got)
	want := []string{"db-filename", "dynamic-config-value", "headless", "http-port", "ip", "log-format", "log-level",
		"metrics-port", "namespace", "port", "pprof-port", "search-attribute", "sqlite-pragma", "ui-ip", "ui-port"}
	if !slices.Equal(got, want) {
		t.Errorf("flags\n%v, want\n%v", got, want)
	}
	if !strings.Contains(stdout, "Temporal's\nopen-source one") {
		t.Error("the help does not say whose the web UI is")
	}
}

func TestVersionNamesItsOwnAndTheCompatibleOne(t *testing.T) {
	status, stdout, _ := call(t, "version")
	if status != exitOK || !regexp.MustCompile(`^perdure \S+ \(API of Temporal \d+\.\d+\.\d+.*\)\n$`).MatchString(stdout) {
		t.Errorf("status %d, %q", status, stdout)
	}
}

func TestServerAnnouncesServesAndStopsGracefully(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := launch(t, "server", "--port=0", "--http-port=0", "--ui-port=0", "--data", dir, "--log-level=warn")
	for _, want := range []string{"gRPC on 127.0.0.1:", "HTTP/JSON on http://", "Temporal's web UI on http://", "/metrics", "data in " + dir} {
		if !strings.Contains(p.line, want) {
			t.Errorf("%q lacks %q", p.line, want)
		}
	}
	if _, err := p.client().GetSystemInfo(t.Context(), &workflowservice.GetSystemInfoRequest{}); err != nil {
		t.Error(err)
	}

	for _, args := range [][]string{
		{"server", "--port=0", "--http-port=0", "--ui-port=0", "--data", dir}, {"check", "--data", dir},
		{"backup", "--data", dir, dir + "-copy"},
	} {
		status, _, stderr := call(t, args...)
		if status != exitFailed || !strings.Contains(stderr, "is in use by another perdure process") {
			t.Errorf("perdure %v beside a running server: status %d, %s", args, status, stderr)
		}
	}

	status, rest := p.end(syscall.SIGTERM)
	if status != exitOK || rest != "" || p.stderr.Len() > 0 {
		t.Errorf("status %d, stdout %q, stderr %s", status, rest, p.stderr)
	}

	if status, stdout, stderr := call(t, "check", "--data", dir); status != exitOK || !strings.Contains(stdout, "no damage") {
		t.Errorf("check: status %d, %s%s", status, stdout, stderr)
	}
	if status, stdout, stderr := call(t, "backup", "--data", dir, dir+"-copy"); status != exitOK {
		t.Errorf("backup: status %d, %s%s", status, stdout, stderr)
	}
	if status, _, stderr := call(t, "backup", "--data", dir, dir+"-copy"); status != exitFailed || !strings.Contains(stderr, "exist") {
		t.Errorf("backup over a backup: status %d, %s", status, stderr)
	}
	p = launch(t, "server", "--port=0", "--http-port=-1", "--headless", "--data", dir+"-copy", "--sync=off")
	if !strings.Contains(p.line, "NOT SYNCED") || strings.Contains(p.line, "http://") {
		t.Errorf("announced %q", p.line)
	}
	if status, _ := p.end(os.Interrupt); status != exitOK || !strings.Contains(p.stderr.String(), "sync is off") {
		t.Errorf("status %d, %s", status, p.stderr)
	}
}

func TestCheckReportsDamageAndMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if status, _, stderr := call(t, "check", "--data", dir); status != exitFailed || !strings.Contains(stderr, "there is no data in "+dir) {
		t.Errorf("status %d, %s", status, stderr)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("check made the directory")
	}
	p := launch(t, "server", "start-dev", "--port=0", "--headless", "--db-filename", dir)
	if status, _ := p.end(syscall.SIGTERM); status != exitOK {
		t.Fatal(p.stderr)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		tables, err = filepath.Glob(filepath.Join(dir, "*", "*.sst"))
	}
	if err != nil || len(tables) == 0 {
		t.Fatal("no table to damage", err)
	}
	data, err := os.ReadFile(tables[0])
	if err == nil {
		data[len(data)/8] ^= 0xff
		err = os.WriteFile(tables[0], data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if status, stdout, stderr := call(t, "check", "--data", dir); status != exitFailed || !strings.Contains(stderr, "corrupt") {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
}

func TestStartDevTakesWhatSDKHelpersPass(t *testing.T) {
	p := launch(t, "server", "start-dev", "--ip", "127.0.0.1", "--port", "0", "--namespace", "one", "--namespace", "two",
		"--headless", "--log-format", "pretty", "--log-level", "warn", "--search-attribute", "Customer=Keyword",
		"--dynamic-config-value", "frontend.enableServerVersionCheck=false",
		"--dynamic-config-value", "limit.maxIDLength=20", "--dynamic-config-value", `b.unknown="x"`,
		"--dynamic-config-value", "a.unknown=1", "--dynamic-config-value", "a.unknown=2",
		"--sqlite-pragma", "journal_mode=wal")
	if !strings.Contains(p.line, "data in memory") || strings.Contains(p.line, "web UI") {
		t.Errorf("announced %q", p.line)
	}
	c := p.client()
	for _, name := range []string{"default", "one", "two"} {
		_, err := c.DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: name})
		if err != nil {
			t.Error(err)
		}
	}
	got, err := c.GetSearchAttributes(t.Context(), &workflowservice.GetSearchAttributesRequest{})
	if _, ok := got.GetKeys()["Customer"]; err != nil || !ok {
		t.Errorf("search attributes: %v, %v", got, err)
	}
	_, err = c.StartWorkflowExecution(t.Context(), &workflowservice.StartWorkflowExecutionRequest{
		Namespace: "one", WorkflowId: strings.Repeat("w", 21),
	})
	if err == nil || !strings.Contains(err.Error(), "length exceeds limit") {
		t.Errorf("a setting had no effect: %v", err)
	}
	if status, _ := p.end(syscall.SIGTERM); status != exitOK {
		t.Errorf("status %d", status)
	}
	warnings := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	if len(warnings) != 2 || !strings.Contains(warnings[0], `keys="a.unknown b.unknown"`) || !strings.Contains(warnings[1], "sqlite") {
		t.Errorf("warnings:\n%s", p.stderr)
	}
}

func TestStartDevPutsItsOtherPortsBesideTheFirst(t *testing.T) {
	for _, c := range []struct{ port, other, want int }{
		{7233, defaultHTTPPort, 7243}, {7233, defaultUIPort, 8233}, {9000, defaultUIPort, 10000},
		{0, defaultUIPort, 0}, {65000, defaultUIPort, 0},
	} {
		if got := beside(c.port, c.other); got != c.want {
			t.Errorf("beside(%d, %d) is %d, not %d", c.port, c.other, got, c.want)
		}
	}
}

func TestPortInUseIsAFailureThatNamesIt(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	status, _, stderr := call(t, "server", "start-dev", "--headless", "--port", port)
	if status != exitFailed || !strings.Contains(stderr, "listen for gRPC: 127.0.0.1:"+port+" is in use") {
		t.Errorf("status %d, %s", status, stderr)
	}
}

func TestFileInPlaceOfADirectoryIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "temporal.db")
	if err := os.WriteFile(file, []byte("SQLite format 3\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := call(t, "server", "start-dev", "--headless", "--port", "0", "--db-filename", file)
	if status != exitFailed || !strings.Contains(stderr, "is a file") {
		t.Errorf("status %d, %s", status, stderr)
	}
}

func TestLogFormatsAndLevels(t *testing.T) {
	for _, c := range []struct {
		flags logFlags
		want  string
	}{
		{logFlags{"info", "text"}, `^time=\d{4}-\S+ level=INFO msg=hello a=1\n$`},
		{logFlags{"info", "json"}, `^{"time":"[^"]+","level":"INFO","msg":"hello","a":1}\n$`},
		{logFlags{"debug", "pretty"}, `^time=\d\d:\d\d:\d\d\.\d{3} level=INFO msg=hello a=1\n$`},
		{logFlags{"warn", "text"}, `^$`}, {logFlags{"never", "text"}, `^$`},
	} {
		var out bytes.Buffer
		log, err := c.flags.logger(&out)
		if err != nil {
			t.Fatal(err)
		}
		log.LogAttrs(context.Background(), slog.LevelInfo, "hello", slog.Int("a", 1))
		if !regexp.MustCompile(c.want).MatchString(out.String()) {
			t.Errorf("%v: %q", c.flags, out.String())
		}
	}
}

package vet

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/types/typeutil"
)

const (
	module       = "github.com/perdure/perdure"
	workflowPath = module + "/workflow"
	flowPath     = module + "/internal/flow"
)

// sdk are the folders of the SDK itself, whose functions may do what those of workflows may not.
var sdk = []string{"activity", "api", "client", "clientconfig", "converter", "embedded", "failure", "internal", "metrics", "opentelemetry", "worker", "workflow", "workflowtest"}

// ours says whether a package is part of the SDK.
func ours(path string) bool {
	rest, ok := strings.CutPrefix(path, module+"/")
	folder, _, _ := strings.Cut(rest, "/")
	return ok && slices.Contains(sdk, folder) && !strings.Contains(rest, "/testdata/")
}

// kind is which context a function has.
type kind int

const (
	plain kind = iota // none; also literals that belong to the function around them
	write             // workflow.Context, or what has more than that
	read              // workflow.ReadContext
	free              // context.Context, or what runs outside of replay: it may do as it likes
)

func (k kind) workflow() bool { return k == write || k == read }

func named(t types.Type, path, name string) bool {
	n, ok := types.Unalias(t).(*types.Named)
	return ok && n.Obj().Name() == name && n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == path
}

// contextKind is that of one parameter's type.
func contextKind(t types.Type) kind {
	switch {
	case named(t, flowPath, "Context"), named(t, flowPath, "Drained"):
		return write
	case named(t, flowPath, "ReadContext"):
		return read
	case named(t, "context", "Context"):
		return free
	}
	return plain
}

// signatureKind is that of a function: the strongest of its parameters.
func signatureKind(s *types.Signature) kind {
	found := plain
	for v := range s.Params().Variables() {
		switch k := contextKind(v.Type()); {
		case k == write, k == read && found != write, k == free && found == plain:
			found = k
		}
	}
	return found
}

// isArgs says whether t is workflow.Args.
func isArgs(t types.Type) bool { return named(t, module+"/converter", "Args") }

// target is the function that a call is known to call, without type arguments; nil for the others.
func target(info *types.Info, call *ast.CallExpr) *types.Func {
	if f, ok := typeutil.Callee(info, call).(*types.Func); ok {
		return f.Origin()
	}
	return nil
}

// pathOf is that of the function's package.
func pathOf(f *types.Func) string {
	if f == nil || f.Pkg() == nil {
		return ""
	}
	return f.Pkg().Path()
}

// receiver is the name of the type of which f is a method; empty for functions.
func receiver(f *types.Func) string {
	recv := f.Signature().Recv()
	if recv == nil {
		return ""
	}
	t := types.Unalias(recv.Type())
	if ptr, ok := t.(*types.Pointer); ok {
		t = types.Unalias(ptr.Elem())
	}
	if n, ok := t.(*types.Named); ok {
		return n.Obj().Name()
	}
	return ""
}

// inWorkflow says whether f is the function, or Type.method, of package workflow with that name, with or without a number of
// arguments behind it.
func inWorkflow(f *types.Func, name string) bool {
	return pathOf(f) == workflowPath && stem(f) == name
}

// stem is Type.method or function without the digit that says how many arguments it takes.
func stem(f *types.Func) string {
	name := strings.TrimRight(f.Name(), "0123456789")
	if r := receiver(f); r != "" {
		return r + "." + name
	}
	return name
}

// does is what a function of package workflow does to the run.
type does int

const (
	commands does = 1 << iota // issues a command, or changes the run otherwise
	outside                   // the command is work that somebody else does
	blocks                    // may wait
)

// verbs are the functions of package workflow that take a Context or wait. A test sees to it that none is missing.
var verbs = map[string]does{
	"Activity": commands | outside, "ActivityVoid": commands | outside, "ActivityByName": commands | outside,
	"LocalActivity": commands | outside, "LocalActivityVoid": commands | outside, "LocalActivityByName": commands | outside,
	"Child": commands | outside, "ChildVoid": commands | outside, "ChildByName": commands | outside,
	"Signal": commands | outside, "External.SignalByName": commands | outside, "External.Cancel": commands | outside,
	"UpsertSearchAttributes": commands, "UpsertMemo": commands, "SetCurrentDetails": commands,
	"Version": commands, "SideEffect": commands, "Rand": commands, "NewUUID": commands, "NewTimer": commands, "NewNamedTimer": commands, "Go": commands,
	"SetSignalHandler": commands, "SetQueryHandler": commands, "SetUpdateHandler": commands,
	"Sleep": commands | blocks, "AwaitFor": commands | blocks, "Await": blocks, "Select": blocks,
	"Drain": blocks, "Future.Get": blocks, "Future.Wait": blocks, "ChildHandle.Started": blocks, "Channel.Send": blocks, "Channel.Receive": blocks,
	"Semaphore.Acquire": blocks, "Mutex.Lock": blocks,
	"WithCancel": 0, "WithoutCancel": 0, "WithValue": 0, "IsCanceled": 0, "CancelReason": 0, "Done": 0, "NewFuture": 0,
	"ContinueAsNew": 0, "ContinueAsNewVoid": 0, "ContinueAsNewByName": 0,
}

// verdict is what to say of the use of a function.
type verdict struct {
	rule Rule
	why  string
}

var clockFuncs = map[string]string{
	"Now": "gives another time on replay; use workflow.Now(ctx)", "Since": "asks the machine's clock; use workflow.Now(ctx).Sub(t)",
	"Until": "asks the machine's clock; use t.Sub(workflow.Now(ctx))", "Sleep": "blocks the worker and is gone on replay; use workflow.Sleep(ctx, d)",
	"After": "is not recorded; use workflow.NewTimer(ctx, d)", "Tick": "is not recorded; sleep in a loop with workflow.Sleep(ctx, d)",
	"NewTimer": "is not recorded; use workflow.NewTimer(ctx, d)", "NewTicker": "is not recorded; sleep in a loop with workflow.Sleep(ctx, d)",
	"AfterFunc":  "is not recorded and runs on a goroutine; use workflow.Go(ctx, f) with workflow.Sleep",
	"Time.Local": "depends on the worker's time zone; use UTC",
}

// makers of generators are as deterministic as their seeds.
var seeded = []string{"New", "NewSource", "NewPCG", "NewChaCha8", "NewZipf"}

// uuids are packages whose New functions roll dice.
var uuids = []string{"github.com/google/uuid", "github.com/gofrs/uuid", "github.com/satori/go.uuid", "github.com/pborman/uuid", "github.com/hashicorp/go-uuid", "github.com/oklog/ulid", "github.com/rs/xid", "github.com/segmentio/ksuid", "github.com/matoous/go-nanoid"}

// harmless functions live in packages that are otherwise about the world.
var harmless = map[string][]string{
	"os":           {"IsNotExist", "IsExist", "IsPermission", "IsTimeout", "IsPathSeparator", "Expand", "FileMode", "PathError", "SyscallError", "LinkError"},
	"net":          {"ParseIP", "ParseCIDR", "ParseMAC", "IPv4", "IPv4Mask", "CIDRMask", "JoinHostPort", "SplitHostPort", "IP", "IPMask", "IPNet", "HardwareAddr", "OpError", "AddrError", "ParseError", "DNSError"},
	"net/http":     {"StatusText", "CanonicalHeaderKey", "Header", "Cookie", "DetectContentType"},
	"database/sql": {"Named", "NullString", "NullInt64", "NullInt32", "NullInt16", "NullFloat64", "NullBool", "NullTime", "NullByte", "Null"},
	"syscall":      {"Errno", "Signal"},
	"os/exec":      {"Error", "ExitError"},
	"io/ioutil":    {"NopCloser"},
}

var locks = map[string]string{
	"Mutex.Lock": "workflow.Mutex", "RWMutex.Lock": "workflow.Mutex", "RWMutex.RLock": "workflow.Mutex", "Locker.Lock": "workflow.Mutex",
	"WaitGroup.Wait": "workflow.Await", "Cond.Wait": "workflow.Await",
}

var runtimeFuncs = []string{"NumGoroutine", "NumCPU", "NumCgoCall", "GOMAXPROCS", "GC", "Gosched", "Goexit", "LockOSThread", "UnlockOSThread", "ReadMemStats", "Stack", "SetFinalizer", "AddCleanup", "GoroutineProfile", "Version"}

// judge says what is wrong with workflow code that uses f.
func judge(f *types.Func) (verdict, bool) {
	name, of := f.Name(), receiver(f)
	if of != "" {
		name = of + "." + name
	}
	first, _, _ := strings.Cut(name, ".")
	at := pathOf(f)
	switch at {
	case "time":
		why, ok := clockFuncs[name]
		return verdict{Clock, why}, ok
	case "math/rand", "math/rand/v2":
		return verdict{Random, "gives another number on replay; use workflow.Rand(ctx)"}, of == "" && !slices.Contains(seeded, name)
	case "crypto/rand":
		return verdict{Random, "gives other bytes on replay; use workflow.Rand(ctx), or workflow.SideEffect for secrets"}, true
	case "hash/maphash":
		return verdict{Random, "has a seed of its own in each process; use another hash"}, true
	case "sync":
		if name == "WaitGroup.Go" {
			return verdict{Goroutine, "starts a goroutine; use workflow.Go(ctx, f)"}, true
		}
		use, ok := locks[name]
		return verdict{Lock, "blocks the worker, not only this coroutine; use " + use}, ok
	case "golang.org/x/sync/semaphore":
		return verdict{Lock, "blocks the worker, not only this coroutine; use workflow.Semaphore"}, name == "Weighted.Acquire"
	case "golang.org/x/sync/errgroup":
		return verdict{Goroutine, "starts or awaits goroutines; use workflow.Go(ctx, f)"}, true
	case "context":
		return verdict{Context, "is for code outside of workflows; use workflow.Context and the scopes of package workflow"}, of == ""
	case "runtime":
		return verdict{Runtime, "is not the same in another worker"}, slices.Contains(runtimeFuncs, name)
	case "runtime/debug":
		return verdict{Runtime, "is not the same in another worker"}, true
	case "fmt":
		switch {
		case strings.HasPrefix(name, "Print"):
			return verdict{Log, "prints again on each replay; use workflow.Logger(ctx)"}, true
		case strings.HasPrefix(name, "Scan"):
			return verdict{IO, "reads the process's input; do it in an activity"}, true
		}
		return verdict{}, false
	case "log":
		return verdict{Log, "logs again on each replay; use workflow.Logger(ctx)"}, of == "" && name != "New" || strings.HasPrefix(name, "Logger.")
	case "log/slog":
		direct := []string{"Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Default", "With", "SetDefault"}
		return verdict{Log, "logs again on each replay; use workflow.Logger(ctx)"}, slices.Contains(direct, name)
	case "reflect":
		return verdict{MapOrder, "has no order; sort the keys"}, name == "Value.MapKeys" || name == "Value.MapRange"
	case "os", "net", "net/http", "io/ioutil", "database/sql", "os/exec", "syscall", "os/signal", "os/user", "net/rpc", "net/smtp", "path/filepath", "plugin", "golang.org/x/sys/unix":
		if at == "path/filepath" && !slices.Contains([]string{"Walk", "WalkDir", "Glob", "Abs", "EvalSymlinks"}, name) {
			return verdict{}, false
		}
		return verdict{IO, "touches what is outside of the workflow; do it in an activity"}, !slices.Contains(harmless[at], first)
	}
	for _, u := range uuids {
		if at == u || strings.HasPrefix(at, u+"/") {
			made := strings.HasPrefix(name, "New") && !slices.Contains([]string{"NewSHA1", "NewMD5", "NewV3", "NewV5", "NewHash"}, name) || name == "Make" || name == "GenerateUUID"
			return verdict{Random, "gives another ID on replay; use workflow.NewUUID(ctx)"}, made
		}
	}
	return verdict{}, false
}

// worldly variables stand for what is outside of the workflow.
var worldly = map[string]verdict{
	"os.Args": {IO, "is that of the worker; give it to the workflow as an argument"}, "os.Stdin": {IO, "is outside of the workflow; do it in an activity"},
	"os.Stdout": {IO, "is outside of the workflow; use workflow.Logger(ctx), or an activity"}, "os.Stderr": {IO, "is outside of the workflow; use workflow.Logger(ctx), or an activity"},
	"crypto/rand.Reader":     {Random, "gives other bytes on replay; use workflow.Rand(ctx), or workflow.SideEffect for secrets"},
	"time.Local":             {Clock, "depends on the worker's time zone; use time.UTC"},
	"net/http.DefaultClient": {IO, "touches what is outside of the workflow; do it in an activity"},
}

func inTest(fset *token.FileSet, pos token.Pos) bool {
	return strings.HasSuffix(fset.Position(pos).Filename, "_test.go")
}

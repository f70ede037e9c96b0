package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/perdure/perdure/"

// policy says which packages of ours a package may import, and why the line is there. A package that is not listed
// fails the test: a new package states its place first.
var policy = map[string]struct {
	may  []string
	why  string
	pure bool // no clock, chance, log, disk or network
}{
	"internal":                     {why: "tests only"},
	"internal/ids":                 {why: "a leaf of types", pure: true},
	"internal/clock":               {why: "the one place that reads the machine's clock"},
	"internal/backoff":             {may: []string{"internal/clock"}, why: "arithmetic", pure: true},
	"internal/filter":              {may: []string{"internal/clock"}, why: "a language; it knows no store", pure: true},
	"internal/historycheck":        {why: "judges histories, so it must not know how they are made", pure: true},
	"internal/execution":           {may: []string{"internal/ids", "internal/clock", "internal/backoff"}, why: "a core decides and does nothing", pure: true},
	"internal/matching":            {may: []string{"internal/ids", "internal/clock", "internal/execution", "internal/record"}, why: "a core decides and does nothing", pure: true},
	"internal/record":              {may: []string{"internal/ids", "internal/clock", "internal/execution", "internal/storage"}, why: "knows what is stored, not where", pure: true},
	"internal/explain":             {may: []string{"internal/ids", "internal/clock", "internal/execution"}, why: "puts into words what others know", pure: true},
	"internal/storage":             {may: []string{"internal/ids"}, why: "a port"},
	"internal/storage/mem":         {may: []string{"internal/ids", "internal/storage"}, why: "an adapter"},
	"internal/storage/local":       {may: []string{"internal/ids", "internal/storage"}, why: "an adapter"},
	"internal/storage/faulty":      {may: []string{"internal/ids", "internal/storage"}, why: "an adapter"},
	"internal/storage/storagetest": {may: []string{"internal/ids", "internal/storage"}, why: "the suite every adapter runs"},
	"internal/engine":              {may: []string{"internal/ids", "internal/clock", "internal/execution", "internal/record", "internal/storage", "internal/taskqueue"}, why: "knows neither gRPC nor how task queues work; of taskqueue only the port it implements"},
	"internal/taskqueue":           {may: []string{"internal/ids", "internal/clock", "internal/execution", "internal/record", "internal/matching"}, why: "holds hints; it cannot ask the engine"},
	"internal/namespace":           {may: []string{"internal/ids", "internal/clock", "internal/execution", "internal/record", "internal/storage", "internal/filter"}, why: "a snapshot everybody reads"},
	"internal/frontend":            {may: []string{"internal/ids", "internal/clock", "internal/backoff", "internal/batch", "internal/execution", "internal/record", "internal/storage", "internal/engine", "internal/taskqueue", "internal/namespace", "internal/filter", "internal/explain", "api/inspect/v1"}, why: "the only one that knows gRPC codes"},
	"api/session/v1":               {why: "generated; part of the public API"},
	"internal/session":             {may: []string{"api/session/v1"}, why: "a transport: it knows calls by name and bytes, and is used by both sides"},
	"api/inspect/v1":               {why: "generated; part of the public API"},
	"internal/batch":               {may: []string{"internal/ids", "internal/clock", "internal/execution", "internal/record", "internal/storage", "internal/namespace"}, why: "says when a target's turn is; what is done to it is behind a port that the frontend implements"},
	"internal/limits":              {may: []string{"internal/execution"}, why: "names and values in, limits out; for whoever sets up a server"},
	"internal/metrics":             {may: []string{"internal/ids", "internal/clock", "internal/engine", "internal/taskqueue", "internal/execution", "internal/record"}, why: "reads what the drivers show"},
	"internal/web":                 {may: []string{"internal/frontend", "internal/clock"}, why: "translates HTTP for the frontend"},
	"internal/node":                {may: []string{"*"}, why: "puts everything together"},
	"searchattribute":              {may: []string{"converter"}, why: "a leaf of the SDK: names with types"},
	"metrics":                      {why: "a leaf of the SDK: what instruments are"},
	"opentelemetry":                {may: []string{"activity", "client", "converter", "metrics", "workflow"}, why: "interceptors and an adapter; nothing of ours needs it"},
	"metrics/prom":                 {may: []string{"metrics"}, why: "an adapter"},
	"client":                       {may: []string{"metrics", "clientconfig", "converter", "failure", "internal/flow", "internal/handlers", "internal/retry", "internal/session"}, why: "speaks the public API; nothing of the server"},
	"worker":                       {may: []string{"metrics", "activity", "converter", "failure", "internal/flow", "internal/handlers", "internal/replay", "internal/retry"}, why: "a driver of flow over the public API; nothing of the server, and a client only by an interface"},
	"workflow":                     {may: []string{"metrics", "converter", "internal/flow", "internal/handlers", "internal/retry"}, why: "typed functions over flow"},
	"activity":                     {may: []string{"metrics", "converter"}, why: "what an activity may ask"},
	"embedded":                     {may: []string{"client", "internal/limits", "internal/node"}, why: "a server and a client in one process"},
	"workflowtest":                 {may: []string{"activity", "client", "internal/historycheck", "worker", "internal/node"}, why: "the real server in a test"},
	"internal/coro":                {why: "a core: order, and nothing else", pure: true},
	"internal/replay":              {why: "a core: history in, differences out", pure: true},
	"internal/handlers":            {why: "a core: types in, definitions out", pure: true},
	"internal/retry":               {why: "one type", pure: true},
	"internal/flow":                {may: []string{"metrics", "converter", "failure", "internal/coro", "internal/handlers", "internal/replay", "internal/retry"}, why: "the life of a run inside a worker; it does not know where tasks come from"},
	"internal/arity":               {why: "writes code"},
	"internal/sim":                 {may: []string{"*"}, why: "tests whole nodes"},
	"internal/wiretest":            {why: "tests only"},
	"internal/vet":                 {why: "knows the SDK by the names of its types, and runs without it"},
	"internal/compat":              {may: []string{"internal/frontend"}, why: "looks at the code to describe it"},
	"converter":                    {why: "a leaf of the SDK: values and payloads"},
	"failure":                      {may: []string{"converter"}, why: "errors and their protos, whose details are payloads"},
	"clientconfig":                 {why: "reads files and variables; it connects to nothing"},
	"cmd/perdure":                  {may: []string{"*"}, why: "the binary"},
}

var impure = []string{"math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog", "os", "net", "net/http", "io/ioutil", "google.golang.org/grpc"}

func TestImportsFollowThePolicy(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(path, "../"))
		if d.IsDir() {
			if name := d.Name(); path != ".." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") || rel == "examples" || rel == "conformance" || rel == "bench" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		checkFile(t, path, filepath.ToSlash(filepath.Dir(rel)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkFile(t *testing.T, path, pkg string) {
	rule, ok := policy[pkg]
	if !ok {
		t.Errorf("%s: package %s has no line in the import policy; say what it may import, and why", path, pkg)
		return
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	for _, imp := range file.Imports {
		name := strings.Trim(imp.Path.Value, `"`)
		if ours, ok := strings.CutPrefix(name, module); ok && ours != pkg && !slices.Contains(rule.may, ours) && !slices.Contains(rule.may, "*") {
			t.Errorf("%s imports %s; %s is there because: %s", path, ours, pkg, rule.why)
		}
		if rule.pure && slices.Contains(impure, name) {
			t.Errorf("%s imports %s; %s is pure: %s", path, name, pkg, rule.why)
		}
		if strings.HasPrefix(name, "go.temporal.io/server") || strings.HasPrefix(name, "go.temporal.io/sdk") {
			t.Errorf("%s imports %s, which only tests of other modules may", path, name)
		}
	}
}

// TestCoresDoNotReadTheClock: a pure package may use time.Duration, but not ask what time it is.
func TestCoresDoNotReadTheClock(t *testing.T) {
	for pkg, rule := range policy {
		if !rule.pure {
			continue
		}
		files, err := filepath.Glob(filepath.Join("..", pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			for _, call := range []string{"time.Now(", "time.Since(", "time.After(", "time.Sleep(", "time.NewTimer(", "time.AfterFunc("} {
				if fileContains(t, path, call) {
					t.Errorf("%s uses %s; time comes in with the input", path, strings.TrimSuffix(call, "("))
				}
			}
		}
	}
}

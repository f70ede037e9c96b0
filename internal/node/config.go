package node

import (
	"log/slog"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/execution"
)

// Config says what a node is. The zero value is a node in memory that serves nothing.
type Config struct {
	// Data is the directory of the store, made if it is missing. Empty: the store is in memory and goes with the process.
	Data string
	// SyncOff acknowledges before data is on disk. It has no meaning in memory.
	SyncOff bool

	// Addresses to listen on, host:port; port 0 picks a free one. Empty: not served.

	GRPC    string
	HTTP    string // the HTTP/JSON API
	UI      string // the web UI, with the calls it needs
	Metrics string // GET /metrics by itself; empty: on HTTP and UI
	Profile string // net/http/pprof, under /debug/pprof/

	// HTTPAnyPort takes a free port for HTTP if the one it names is in use.
	HTTPAnyPort bool

	// CacheBytes bounds, by estimate, the memory of workflow runs that are kept between inputs; those beyond are read from the
	// store when something happens to them. 0: 20 MiB, some 7,500 idle runs.
	CacheBytes int

	// Namespaces are made at the start if they are missing, beside "default", which is made once.
	Namespaces []string
	// SearchAttributes are defined at the start in "default" and in Namespaces, if they are missing.
	SearchAttributes map[string]enumspb.IndexedValueType

	Limits *execution.Limits // nil: execution.DefaultLimits
	// Version is this program's, without a leading v. Default "dev".
	Version string
	// Grace bounds how long a stop waits for RPCs that are under way. Default 10 s.
	Grace time.Duration
	// LongPoll is how long polls, and readers that wait for events, wait. 0: a minute and 20 s.
	LongPoll time.Duration
	Log      *slog.Logger // nil: nothing is logged
}

const defaultGrace = 10 * time.Second

func (c Config) withDefaults() Config {
	if c.Limits == nil {
		c.Limits = execution.DefaultLimits()
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.Grace <= 0 {
		c.Grace = defaultGrace
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// storeKind is what clients are told of the storage.
func (c *Config) storeKind() string {
	if c.Data == "" {
		return "memory"
	}
	return "pebble"
}

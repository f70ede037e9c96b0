package namespace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/storage"
)

// Shard fences the writes of registries. It is far above the shards that hold executions.
const Shard ids.ShardID = 1 << 20

// Names of the namespaces that exist without being registered, and of the only cluster.
const (
	Default     = "default"         // made on the first start only: who deletes it is not given it back
	System      = "temporal-system" // made on any start, cannot be deleted
	ClusterName = "active"
)

const (
	// clusterIDKey is the name of the setting that holds the cluster's UUID, as text.
	clusterIDKey = "cluster-id"

	defaultRetention = 24 * time.Hour
	systemRetention  = 7 * 24 * time.Hour

	// writeAttempts bounds how often a write that lost its fence is decided anew.
	writeAttempts = 4
	// reopenWait bounds taking a new epoch for a caller who may be gone already.
	reopenWait = 5 * time.Second
)

// Options configure a registry.
type Options struct {
	Store storage.Store // required
	Clock clock.Clock   // nil: clock.System
	Log   *slog.Logger  // nil: nothing is logged
	NewID func() string // makes UUIDs; nil: random ones
	// Names are namespaces to make at every start if they are missing, with DefaultRetention.
	Names []string
	// DefaultRetention is that of Default and of Names. Zero: 24 hours.
	DefaultRetention time.Duration
	// SearchAttributes are defined at every start in Default and in Names.
	SearchAttributes map[string]enumspb.IndexedValueType
	// OnDelete is told of each namespace deleted, once that is durable: its executions are to be purged, then Forget is
	// to be called. It is called on the goroutine of the caller of Delete and must not call the registry's writers. After
	// a restart, Deleted lists what is still to be done. nil: nobody is told.
	OnDelete func(*Namespace)
}

// Registry holds all namespaces. Safe for concurrent use; readers never wait.
type Registry struct {
	store    storage.Store
	clock    clock.Clock
	log      *slog.Logger
	newID    func() string
	onDelete func(*Namespace)
	cluster  string // UUID; set by Open

	current atomic.Pointer[snapshot]

	// writing has room for the one goroutine that may write and owns epoch. A channel, since it is held across storage
	// and a caller must be able to give up waiting.
	writing chan struct{}
	epoch   ids.Epoch // zero: to be taken before the next write
}

// Namespace is one namespace at one moment; it never changes.
type Namespace struct {
	Info
	core execution.Namespace
}

// Core is the namespace as steps see it. Its functions stay usable for as long as anybody holds it.
func (n *Namespace) Core() *execution.Namespace { return &n.core }

// snapshot is all namespaces at one moment.
type snapshot struct {
	byName map[string]*Namespace
	byID   map[ids.NamespaceID]*Namespace
	sorted []*Namespace // by name
}

// Open loads the registry, takes its shard, and makes what must exist. On the first start of a store it also gives the
// cluster its ID. The registry needs no closing.
func Open(ctx context.Context, o Options) (*Registry, error) {
	r := &Registry{
		store: o.Store, clock: o.Clock, log: o.Log, newID: o.NewID, onDelete: o.OnDelete, writing: make(chan struct{}, 1),
	}
	if r.clock == nil {
		r.clock = clock.System{}
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.newID == nil {
		r.newID = uuid.NewString
	}
	if o.DefaultRetention == 0 {
		o.DefaultRetention = defaultRetention
	}
	if err := r.write(ctx, func(s *snapshot) (*edit, error) { return r.bootstrap(s, o) }); err != nil {
		return nil, fmt.Errorf("open namespaces: %w", err)
	}
	id, err := r.store.Get(record.ClusterKey(clusterIDKey))
	if err != nil {
		return nil, fmt.Errorf("open namespaces: read the cluster's ID: %w", err)
	}
	if r.cluster = string(id); uuid.Validate(r.cluster) != nil {
		return nil, &storage.CorruptionError{Where: clusterIDKey, Err: fmt.Errorf("%q is not a UUID", id)}
	}
	return r, nil
}

// bootstrap decides what a start has to write.
func (r *Registry) bootstrap(s *snapshot, o Options) (*edit, error) {
	e := new(edit)
	wanted := slices.Concat([]string{System}, o.Names)
	_, err := r.store.Get(record.ClusterKey(clusterIDKey))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		e.extra = append(e.extra, storage.Op{Key: record.ClusterKey(clusterIDKey), Value: []byte(r.newID())})
		wanted = append(wanted, Default)
	case err != nil:
		return nil, fmt.Errorf("read the cluster's ID: %w", err)
	}
	attributed := slices.Concat([]string{Default}, o.Names)
	all := slices.Concat(wanted, attributed)
	slices.Sort(all)
	for _, name := range slices.Compact(all) {
		var info *Info
		switch n, exists := s.byName[name]; {
		case exists:
			info = n.Info.clone()
		case slices.Contains(wanted, name):
			retention := o.DefaultRetention
			if name == System {
				retention = systemRetention
			}
			if info, err = r.fresh(Registration{Name: name, Retention: retention}); err != nil {
				return nil, fmt.Errorf("make namespace %q: %w", name, err)
			}
		default:
			continue // Default was deleted
		}
		added := false
		if slices.Contains(attributed, name) {
			if added, err = addAttributes(info, o.SearchAttributes); err != nil {
				return nil, fmt.Errorf("add search attributes to namespace %q: %w", name, err)
			}
		}
		if _, exists := s.byName[name]; !exists || added {
			e.put = append(e.put, info)
		}
	}
	return e, nil
}

// ClusterID is the UUID the cluster got at its first start.
func (r *Registry) ClusterID() string { return r.cluster }

// Lookup finds a namespace by name. Deleted ones are found under their new names until they are forgotten. The error is
// NotFound's.
func (r *Registry) Lookup(name string) (*Namespace, error) {
	if n, ok := r.current.Load().byName[name]; ok {
		return n, nil
	}
	return nil, NotFound(name)
}

// LookupID finds a namespace by ID, deleted ones included. The error is NotFound's.
func (r *Registry) LookupID(id ids.NamespaceID) (*Namespace, error) {
	if n, ok := r.current.Load().byID[id]; ok {
		return n, nil
	}
	return nil, NotFound(string(id))
}

// ByName is Lookup for the hot path.
func (r *Registry) ByName(name string) (*execution.Namespace, error) {
	n, err := r.Lookup(name)
	if err != nil {
		return nil, err
	}
	return n.Core(), nil
}

// ByID is LookupID for the hot path.
func (r *Registry) ByID(id ids.NamespaceID) (*execution.Namespace, error) {
	n, err := r.LookupID(id)
	if err != nil {
		return nil, err
	}
	return n.Core(), nil
}

// List returns up to limit namespaces with names above after, in the order of names; more tells whether others follow.
// Deleted ones are left out unless asked for. It is stable while namespaces come and go.
func (r *Registry) List(after string, limit int, deleted bool) (page []*Namespace, more bool) {
	sorted := r.current.Load().sorted
	start, _ := slices.BinarySearchFunc(sorted, after, func(n *Namespace, name string) int {
		if n.Name <= name {
			return -1
		}
		return 1
	})
	for _, n := range sorted[start:] {
		if n.State == enumspb.NAMESPACE_STATE_DELETED && !deleted {
			continue
		}
		if len(page) == limit {
			return page, true
		}
		page = append(page, n)
	}
	return page, false
}

// Deleted lists the namespaces that are deleted but not forgotten, in the order of names.
func (r *Registry) Deleted() []*Namespace {
	var deleted []*Namespace
	for _, n := range r.current.Load().sorted {
		if n.State == enumspb.NAMESPACE_STATE_DELETED {
			deleted = append(deleted, n)
		}
	}
	return deleted
}

func (r *Registry) resolve(name string) (ids.NamespaceID, bool) {
	n, ok := r.current.Load().byName[name]
	if !ok || n.State == enumspb.NAMESPACE_STATE_DELETED {
		return "", false
	}
	return n.ID, true
}

// edit is what one write changes.
type edit struct {
	put   []*Info
	drop  []ids.NamespaceID
	extra []storage.Op
}

func (e *edit) ops() ([]storage.Op, error) {
	ops := slices.Clone(e.extra)
	for _, info := range e.put {
		value, err := encode(info)
		if err != nil {
			return nil, err
		}
		ops = append(ops, storage.Op{Key: record.NamespaceKey(info.ID), Value: value})
	}
	for _, id := range e.drop {
		ops = append(ops, storage.Op{Key: record.NamespaceKey(id), Delete: true})
	}
	return ops, nil
}

// write makes durable what decide wants of the newest state, and shows it to readers. decide may be called again, with
// a newer state, if the fence was lost; it must not keep what it is given. An empty edit writes nothing.
func (r *Registry) write(ctx context.Context, decide func(*snapshot) (*edit, error)) error {
	select {
	case r.writing <- struct{}{}:
		defer func() { <-r.writing }()
	case <-ctx.Done():
		return fmt.Errorf("wait to write namespaces: %w", ctx.Err())
	}
	for range writeAttempts {
		if r.epoch == 0 {
			if err := r.reopen(ctx); err != nil {
				return err
			}
		}
		s := r.current.Load()
		e, err := decide(s)
		if err != nil {
			return err
		}
		ops, err := e.ops()
		if err != nil || len(ops) == 0 {
			return err
		}
		err = r.store.Apply(ctx, &storage.Batch{Fence: storage.Fence{Shard: Shard, Epoch: r.epoch}, Ops: ops})
		if err == nil {
			r.current.Store(s.apply(e, r.view))
			return nil
		}
		unknown := errors.Is(err, storage.ErrUnknown)
		if !unknown && !errors.Is(err, storage.ErrFenced) {
			return fmt.Errorf("write namespaces: %w", err)
		}
		// The epoch that follows settles whether the batch is in. The caller may be gone, but readers should not go on
		// with a set that may be out of date.
		r.log.Warn("namespaces lost their fence", "shard", Shard, "epoch", r.epoch, "error", err)
		r.epoch = 0
		if err := r.reopenFor(ctx); err != nil {
			return err
		}
		if unknown {
			if applied, err := r.applied(ops); err != nil || applied {
				return err
			}
		}
	}
	return refuse(execution.Unavailable, "namespaces are being written by another process, try again")
}

func (r *Registry) reopenFor(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reopenWait)
	defer cancel()
	return r.reopen(ctx)
}

// reopen takes a new epoch and loads what is stored. Only the writer may call it.
func (r *Registry) reopen(ctx context.Context) error {
	epoch, err := r.store.Acquire(ctx, Shard)
	if err != nil {
		return fmt.Errorf("acquire the namespaces' shard: %w", err)
	}
	s, err := r.load()
	if err != nil {
		return err
	}
	r.current.Store(s)
	r.epoch = epoch
	return nil
}

// applied tells whether the store holds what ops wanted.
func (r *Registry) applied(ops []storage.Op) (bool, error) {
	for _, op := range ops {
		value, err := r.store.Get(op.Key)
		missing := errors.Is(err, storage.ErrNotFound)
		if err != nil && !missing {
			return false, fmt.Errorf("read back namespaces: %w", err)
		}
		if missing != op.Delete || !missing && string(value) != string(op.Value) {
			return false, nil
		}
	}
	return true, nil
}

func (r *Registry) load() (*snapshot, error) {
	e := new(edit)
	var bad error
	prefix := record.AllNamespaces()
	err := r.store.Scan(prefix, storage.PrefixEnd(prefix), func(key, value []byte) bool {
		var info *Info
		if info, bad = decode(value); bad == nil && string(record.NamespaceKey(info.ID)) != string(key) {
			bad = fmt.Errorf("namespace %s is stored under another's key", info.ID)
		}
		if bad != nil {
			bad = &storage.CorruptionError{Where: fmt.Sprintf("namespace key %x", key), Err: bad}
			return false
		}
		e.put = append(e.put, info)
		return true
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("load namespaces: %w", err)
	}
	s := new(snapshot).apply(e, r.view)
	if len(s.byName) != len(s.byID) {
		return nil, fmt.Errorf("load namespaces: %w",
			&storage.CorruptionError{Where: "namespaces", Err: errors.New("two have the same name")})
	}
	return s, nil
}

// apply is the set after e.
func (s *snapshot) apply(e *edit, view func(*Info) *Namespace) *snapshot {
	byID := maps.Clone(s.byID)
	if byID == nil {
		byID = make(map[ids.NamespaceID]*Namespace)
	}
	for _, info := range e.put {
		byID[info.ID] = view(info)
	}
	for _, id := range e.drop {
		delete(byID, id)
	}
	next := &snapshot{byID: byID, byName: make(map[string]*Namespace, len(byID))}
	for _, n := range byID {
		next.byName[n.Name] = n
	}
	next.sorted = slices.SortedFunc(maps.Values(byID), func(a, b *Namespace) int { return strings.Compare(a.Name, b.Name) })
	return next
}

func (r *Registry) view(info *Info) *Namespace {
	n := &Namespace{Info: *info}
	n.core = execution.Namespace{
		ID: n.ID, Name: n.Name, Retention: n.Retention,
		CheckSearchAttributes: n.checkSearchAttributes,
		Resolve:               r.resolve,
	}
	return n
}

package namespace

import (
	"context"
	"maps"
	"time"
	"unicode/utf8"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// Bounds of a namespace's own fields.
const (
	MaxName        = 1000 // bytes
	MinRetention   = time.Hour
	MaxRetention   = 100 * 365 * 24 * time.Hour // longer ones are cut, so that close time plus retention stays a time
	maxBadBinaries = 10

	// deletedIDPrefix is how much of its ID a deleted namespace's new name begins with; more if that name is taken.
	deletedIDPrefix = 5
)

// Registration describes a namespace to be made. Retention is required: at least MinRetention.
type Registration struct {
	Name        string
	Description string
	OwnerEmail  string
	Data        map[string]string
	Retention   time.Duration
}

// Change describes an update. Zero fields leave things as they are.
type Change struct {
	Description string
	OwnerEmail  string
	Data        map[string]string // merged by key
	Retention   *time.Duration
	BadBinaries map[string]BadBinary // merged by checksum; Created is filled in
	// DeleteBadBinary is the checksum of one to remove.
	DeleteBadBinary string
	// State may go from registered to deprecated and from either to deleted, never back.
	State enumspb.NamespaceState
}

// Register makes a namespace, usable by all at once when it returns. Errors: InvalidArgument, AlreadyExists.
func (r *Registry) Register(ctx context.Context, g Registration) (*Namespace, error) {
	return r.edit(ctx, func(s *snapshot) (*Info, error) {
		info, err := r.fresh(g)
		if err != nil {
			return nil, err
		}
		if _, exists := s.byName[g.Name]; exists {
			return nil, alreadyExists(g.Name)
		}
		return info, nil
	})
}

// fresh is a new namespace as g wants it.
func (r *Registry) fresh(g Registration) (*Info, error) {
	if err := checkName(g.Name); err != nil {
		return nil, err
	}
	retention, err := checkRetention(g.Retention)
	if err != nil {
		return nil, err
	}
	return &Info{
		ID: ids.NamespaceID(r.newID()), Name: g.Name, State: enumspb.NAMESPACE_STATE_REGISTERED, Description: g.Description,
		OwnerEmail: g.OwnerEmail, Data: maps.Clone(g.Data), Retention: retention, Created: r.clock.Now(),
	}, nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return invalid("Namespace not set on request.")
	case len(name) > MaxName:
		return invalid("Namespace length exceeds limit.")
	case !utf8.ValidString(name): // only from configuration: gRPC has checked
		return invalid("Namespace %q is not valid UTF-8.", name)
	}
	return nil
}

func checkRetention(d time.Duration) (time.Duration, error) {
	if d < MinRetention {
		return 0, invalid("A valid retention period is not set on request.")
	}
	return min(d, MaxRetention), nil
}

// Update changes a namespace and returns it as it is then. Errors: NotFound, InvalidArgument, FailedPrecondition for
// deleting System. A namespace deleted this way keeps its name until Delete is called; what is in it stays.
func (r *Registry) Update(ctx context.Context, name string, c Change) (*Namespace, error) {
	return r.edit(ctx, func(s *snapshot) (*Info, error) {
		n, ok := s.byName[name]
		if !ok {
			return nil, NotFound(name)
		}
		info := n.Info.clone()
		if err := c.apply(info, r.clock.Now()); err != nil {
			return nil, err
		}
		return info, nil
	})
}

// Deprecate makes a namespace refuse new executions. Doing it twice is fine. Errors: NotFound, InvalidArgument for a
// deleted one.
func (r *Registry) Deprecate(ctx context.Context, name string) error {
	_, err := r.Update(ctx, name, Change{State: enumspb.NAMESPACE_STATE_DEPRECATED})
	return err
}

func (c Change) apply(info *Info, now clock.Nanos) error {
	if c.Description != "" {
		info.Description = c.Description
	}
	if c.OwnerEmail != "" {
		info.OwnerEmail = c.OwnerEmail
	}
	info.Data = merge(info.Data, c.Data)
	if c.Retention != nil {
		retention, err := checkRetention(*c.Retention)
		if err != nil {
			return err
		}
		info.Retention = retention
	}
	if err := c.applyBadBinaries(info, now); err != nil {
		return err
	}
	return c.applyState(info)
}

func (c Change) applyBadBinaries(info *Info, now clock.Nanos) error {
	added := maps.Clone(c.BadBinaries)
	for checksum, b := range added {
		b.Created = now
		added[checksum] = b
	}
	info.BadBinaries = merge(info.BadBinaries, added)
	if len(info.BadBinaries) > maxBadBinaries {
		return invalid("A namespace cannot have more than %d bad binaries.", maxBadBinaries)
	}
	if c.DeleteBadBinary == "" {
		return nil
	}
	if _, ok := info.BadBinaries[c.DeleteBadBinary]; !ok {
		return invalid("Bad binary checksum %s doesn't exists.", c.DeleteBadBinary)
	}
	delete(info.BadBinaries, c.DeleteBadBinary)
	return nil
}

func (c Change) applyState(info *Info) error {
	switch {
	case c.State == enumspb.NAMESPACE_STATE_UNSPECIFIED || c.State == info.State:
		return nil
	case c.State == enumspb.NAMESPACE_STATE_DELETED && info.Name == System:
		return errSystem()
	case c.State < info.State || c.State > enumspb.NAMESPACE_STATE_DELETED:
		return invalid("invalid namespace state update")
	}
	info.State = c.State
	return nil
}

func errSystem() error {
	return refuse(execution.FailedPrecondition, "unable to delete system namespace")
}

func merge[V any](into, from map[string]V) map[string]V {
	if into == nil && len(from) > 0 {
		into = make(map[string]V, len(from))
	}
	maps.Copy(into, from)
	return into
}

// Delete frees a namespace's name, marks it deleted, and tells Options.OnDelete. id is used if it is set, else name.
// The record stays, under a new name, at least for delay, and until Forget. Deleting a deleted one again changes nothing
// and tells OnDelete again. Errors: NotFound, FailedPrecondition for System.
func (r *Registry) Delete(ctx context.Context, name string, id ids.NamespaceID, delay time.Duration) (*Namespace, error) {
	n, err := r.edit(ctx, func(s *snapshot) (*Info, error) {
		n, ok := s.byName[name]
		if id != "" {
			name = string(id)
			n, ok = s.byID[id]
		}
		switch {
		case !ok:
			return nil, NotFound(name)
		case n.Name == System:
			return nil, errSystem()
		}
		info := n.Info.clone()
		if info.ForgetAfter != 0 { // renamed before
			return info, nil
		}
		info.State = enumspb.NAMESPACE_STATE_DELETED
		info.Name = s.deletedName(info)
		info.ForgetAfter = max(r.clock.Now().Add(delay), 1) // not zero, which means "not deleted"
		return info, nil
	})
	if err != nil {
		return nil, err
	}
	r.log.Info("namespace deleted", "namespace", n.Name, "namespace_id", n.ID)
	if r.onDelete != nil {
		r.onDelete(n)
	}
	return n, nil
}

func (s *snapshot) deletedName(info *Info) string {
	for length := deletedIDPrefix; ; length++ {
		name := info.Name + "-deleted-" + string(info.ID[:min(length, len(info.ID))])
		if _, taken := s.byName[name]; !taken {
			return name
		}
		if length >= len(info.ID) { // somebody registered all of these names
			info.Name += "-deleted"
			length = deletedIDPrefix
		}
	}
}

// Forget removes the record of a deleted namespace whose executions are gone. One that is not there is fine.
// FailedPrecondition if it is not deleted.
func (r *Registry) Forget(ctx context.Context, id ids.NamespaceID) error {
	return r.write(ctx, func(s *snapshot) (*edit, error) {
		n, ok := s.byID[id]
		switch {
		case !ok:
			return new(edit), nil
		case n.State != enumspb.NAMESPACE_STATE_DELETED:
			return nil, refuse(execution.FailedPrecondition, "Namespace %s is not deleted.", n.Name)
		}
		return &edit{drop: []ids.NamespaceID{id}}, nil
	})
}

// edit writes the one namespace that decide returns, and returns it as readers see it then.
func (r *Registry) edit(ctx context.Context, decide func(*snapshot) (*Info, error)) (*Namespace, error) {
	var written *Info
	err := r.write(ctx, func(s *snapshot) (*edit, error) {
		info, err := decide(s)
		if err != nil {
			return nil, err
		}
		written = info
		return &edit{put: []*Info{info}}, nil
	})
	if err != nil {
		return nil, err
	}
	return r.view(written), nil
}

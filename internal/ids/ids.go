// Package ids holds the identifiers that the whole system agrees on, as distinct types so that arguments cannot be
// swapped. It knows nothing of what the identifiers point to.
package ids

import (
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// NamespaceID is a namespace's UUID in its canonical text form. It never changes; the namespace's name may.
type NamespaceID string

// WorkflowID is the name a user gave to a workflow: opaque UTF-8, compared byte for byte, at most 1000 bytes.
type WorkflowID string

// RunID is the UUID of one run of a workflow, in canonical text form. Empty means "the current run" where allowed.
type RunID string

// BatchID is the name a user gave to a batch job: opaque text, at most 1000 bytes.
type BatchID string

// EventID numbers the events of one run from 1 without gaps. Zero means "none".
type EventID = int64

// Slot is the hash slot of a workflow ID. All runs of a workflow ID share one slot, so that continue-as-new, reset and
// terminate-and-start are one batch of one shard.
type Slot uint16

// Slots is the number of hash slots. It is part of the stored format: changing it needs a migration.
const Slots = 1024

// Epoch numbers the ownerships of one shard. A batch written under an older epoch than the newest is refused.
type Epoch uint64

// ShardID numbers the shards of one store, from 0.
type ShardID uint32

// WorkflowKey names a workflow: all runs of one workflow ID in one namespace.
type WorkflowKey struct {
	Namespace NamespaceID
	Workflow  WorkflowID
}

// Run makes the key of one run of k.
func (k WorkflowKey) Run(r RunID) RunKey { return RunKey{k.Namespace, k.Workflow, r} }

// Slot tells the hash slot k lives in.
func (k WorkflowKey) Slot() Slot {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(string(k.Namespace))
	_, _ = d.Write([]byte{0})
	_, _ = d.WriteString(string(k.Workflow))
	return Slot(d.Sum64() % Slots)
}

// RunKey names one run of a workflow.
type RunKey struct {
	Namespace NamespaceID
	Workflow  WorkflowID
	Run       RunID
}

// Of is the workflow that the run belongs to.
func (k RunKey) Of() WorkflowKey { return WorkflowKey{k.Namespace, k.Workflow} }

// String is for logs and errors only.
func (k RunKey) String() string { return fmt.Sprintf("%s/%s/%s", k.Namespace, k.Workflow, k.Run) }

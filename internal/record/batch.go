package record

import (
	"bytes"
	"fmt"

	"github.com/google/uuid"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// Kinds of rows in the table of batch jobs. Part of the format.
const (
	batchJob     = 0 // job → BatchJob
	batchRequest = 1 // job → workflowservice.v1.StartBatchOperationRequest
	batchTargets = 2 // job, number of the first target → BatchTargets
	batchOrder   = 3 // inverted start time, job → nothing
)

// BatchJob is what is stored of a batch job beside its request and its targets. The tags are part of the format.
type BatchJob struct {
	State    int32       `cbor:"1,keyasint"` // enums.v1.BatchOperationState
	Type     int32       `cbor:"2,keyasint"` // enums.v1.BatchOperationType
	Start    clock.Nanos `cbor:"3,keyasint"`
	Close    clock.Nanos `cbor:"4,keyasint,omitempty"` // zero: not closed
	Listed   bool        `cbor:"5,keyasint,omitempty"` // all targets are stored, Total of them
	Total    int64       `cbor:"6,keyasint,omitempty"`
	Complete int64       `cbor:"7,keyasint,omitempty"`
	Failed   int64       `cbor:"8,keyasint,omitempty"`
	// StopReason and StoppedBy are of the request that stopped the job, if one did.
	StopReason string `cbor:"9,keyasint,omitempty"`
	StoppedBy  string `cbor:"10,keyasint,omitempty"`
}

// BatchTarget is one execution that a batch job is for.
type BatchTarget struct {
	Workflow ids.WorkflowID `cbor:"1,keyasint"`
	// Run is empty if there was no such workflow when the targets were listed.
	Run ids.RunID `cbor:"2,keyasint,omitempty"`
}

// BatchTargets is a row of targets.
type BatchTargets struct {
	Targets []BatchTarget `cbor:"1,keyasint"`
}

// Encode is the value of the job's row.
func (j *BatchJob) Encode() []byte { return marshal(j) }

// DecodeBatchJob is the inverse of BatchJob.Encode.
func DecodeBatchJob(b []byte) (*BatchJob, error) {
	j := new(BatchJob)
	if err := decoder.Unmarshal(b, j); err != nil {
		return nil, fmt.Errorf("record: batch job: %w", err)
	}
	return j, nil
}

// EncodeBatchTargets is the value of a row of targets.
func EncodeBatchTargets(targets []BatchTarget) []byte { return marshal(&BatchTargets{targets}) }

// DecodeBatchTargets is the inverse of EncodeBatchTargets.
func DecodeBatchTargets(b []byte) ([]BatchTarget, error) {
	var t BatchTargets
	if err := decoder.Unmarshal(b, &t); err != nil {
		return nil, fmt.Errorf("record: batch targets: %w", err)
	}
	return t.Targets, nil
}

// AllBatches is the prefix of the rows of all batch jobs; BatchPrefix that of one namespace's.
func AllBatches() []byte { return []byte{tableBatch} }

// BatchPrefix is the prefix of the rows of a namespace's batch jobs.
func BatchPrefix(ns ids.NamespaceID) []byte { return appendUUID(AllBatches(), ns) }

// BatchNamespace tells whose row the key of any row of a batch job is.
func BatchNamespace(key []byte) (ids.NamespaceID, error) {
	r := reader{b: key}
	if r.take(1)[0] != tableBatch {
		return "", errKey
	}
	ns := ids.NamespaceID(r.uuid())
	if r.bad {
		return "", errKey
	}
	return ns, nil
}

// BatchJobs is the prefix of a namespace's BatchJob rows.
func BatchJobs(ns ids.NamespaceID) []byte { return append(BatchPrefix(ns), batchJob) }

// BatchJobKey is where a batch job is stored.
func BatchJobKey(ns ids.NamespaceID, job ids.BatchID) []byte { return appendText(BatchJobs(ns), job) }

// ParseBatchJobKey is the inverse of BatchJobKey.
func ParseBatchJobKey(key []byte) (ids.BatchID, error) {
	r, err := batchReader(key, batchJob)
	if err != nil {
		return "", err
	}
	job := ids.BatchID(r.text())
	return job, r.done()
}

// BatchRequestKey is where the request that made a batch job is stored.
func BatchRequestKey(ns ids.NamespaceID, job ids.BatchID) []byte {
	return appendText(append(BatchPrefix(ns), batchRequest), job)
}

// BatchTargetsPrefix is the prefix of the rows of a batch job's targets.
func BatchTargetsPrefix(ns ids.NamespaceID, job ids.BatchID) []byte {
	return appendText(append(BatchPrefix(ns), batchTargets), job)
}

// BatchTargetsKey is where the targets of a batch job from number first on are stored, as many as the row holds.
func BatchTargetsKey(ns ids.NamespaceID, job ids.BatchID, first int64) []byte {
	return appendInt(BatchTargetsPrefix(ns, job), first)
}

// ParseBatchTargetsKey tells the number of the first target of a row.
func ParseBatchTargetsKey(key []byte) (first int64, err error) {
	r, err := batchReader(key, batchTargets)
	if err != nil {
		return 0, err
	}
	r.text()
	first = r.int()
	return first, r.done()
}

// BatchOrder is the prefix of the rows that put a namespace's batch jobs in order, newest start first.
func BatchOrder(ns ids.NamespaceID) []byte { return append(BatchPrefix(ns), batchOrder) }

// BatchOrderKey is the row of one batch job among them.
func BatchOrderKey(ns ids.NamespaceID, start clock.Nanos, job ids.BatchID) []byte {
	return appendText(appendInt(BatchOrder(ns), invert(start)), job)
}

// ParseBatchOrderKey is the inverse of BatchOrderKey.
func ParseBatchOrderKey(key []byte) (start clock.Nanos, job ids.BatchID, err error) {
	r, err := batchReader(key, batchOrder)
	if err != nil {
		return 0, "", err
	}
	start, job = clock.Nanos(invert(clock.Nanos(r.int()))), ids.BatchID(r.text())
	return start, job, r.done()
}

// batchReader reads the key of a row of some kind from behind the kind on.
func batchReader(key []byte, kind byte) (*reader, error) {
	const kindAt = 1 + len(uuid.Nil)
	if len(key) <= kindAt || !bytes.HasPrefix(key, AllBatches()) || key[kindAt] != kind {
		return nil, errKey
	}
	return &reader{b: key[kindAt+1:]}, nil
}

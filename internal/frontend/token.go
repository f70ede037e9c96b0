package frontend

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/google/uuid"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/ids"
)

// Tokens are opaque to clients and live as long as a worker or a reader holds them, across restarts and upgrades:
//
//	version (1 byte), kind (1 byte), the kind's fields in order, CRC-32C of all before (4 bytes)
//
// A field is a UUID (16 bytes), a zigzag varint, or a string after its length. The checksum tells a damaged token from a
// good one; it is no protection against forgery, which namespace access rights are for.
const tokenVersion = 1

type tokenKind byte

const (
	tokenWorkflowTask tokenKind = iota + 1
	tokenActivity
	tokenQuery
	tokenHistory
	tokenReverse
	tokenList
	tokenBatches
)

var (
	errToken   = errors.New("malformed token")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// tokenWriter puts a token together.
type tokenWriter struct{ b []byte }

func newToken(kind tokenKind) *tokenWriter {
	return &tokenWriter{b: append(make([]byte, 0, 96), tokenVersion, byte(kind))}
}

func (w *tokenWriter) int(n int64) *tokenWriter {
	w.b = binary.AppendVarint(w.b, n)
	return w
}

func (w *tokenWriter) text(s string) *tokenWriter {
	w.b = append(binary.AppendUvarint(w.b, uint64(len(s))), s...)
	return w
}

func (w *tokenWriter) uuid(s string) *tokenWriter {
	u, err := uuid.Parse(s)
	if err != nil {
		u = uuid.Nil // an empty ID
	}
	w.b = append(w.b, u[:]...)
	return w
}

func (w *tokenWriter) run(k ids.RunKey) *tokenWriter {
	return w.uuid(string(k.Namespace)).text(string(k.Workflow)).uuid(string(k.Run))
}

func (w *tokenWriter) bytes() []byte {
	return binary.LittleEndian.AppendUint32(w.b, crc32.Checksum(w.b, castagnoli))
}

// tokenReader takes one apart; the first fault sticks.
type tokenReader struct {
	b   []byte
	bad bool
}

func readToken(b []byte, kind tokenKind) *tokenReader {
	if len(b) < 6 || b[0] != tokenVersion || b[1] != byte(kind) {
		return &tokenReader{bad: true}
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	return &tokenReader{b: body[2:], bad: crc32.Checksum(body, castagnoli) != sum}
}

func (r *tokenReader) int() int64 {
	if r.bad {
		return 0
	}
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *tokenReader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *tokenReader) text() string {
	if r.bad {
		return ""
	}
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.bad = true
		return ""
	}
	r.b = r.b[size:]
	return string(r.take(n))
}

func (r *tokenReader) uuid() string {
	b := r.take(16)
	if r.bad || uuid.UUID(b) == uuid.Nil {
		return ""
	}
	return uuid.UUID(b).String()
}

func (r *tokenReader) run() ids.RunKey {
	return ids.RunKey{Namespace: ids.NamespaceID(r.uuid()), Workflow: ids.WorkflowID(r.text()), Run: ids.RunID(r.uuid())}
}

func (r *tokenReader) done() error {
	if r.bad || len(r.b) != 0 {
		return errToken
	}
	return nil
}

func encodeWorkflowTask(t execution.WorkflowTaskToken) []byte {
	return newToken(tokenWorkflowTask).run(t.Run).int(t.Seq).int(t.ScheduledID).int(t.StartedID).int(int64(t.StartedAt)).
		int(int64(t.Attempt)).bytes()
}

func decodeWorkflowTask(b []byte) (execution.WorkflowTaskToken, error) {
	r := readToken(b, tokenWorkflowTask)
	t := execution.WorkflowTaskToken{
		Run: r.run(), Seq: r.int(), ScheduledID: r.int(), StartedID: r.int(), StartedAt: clock.Nanos(r.int()), Attempt: int32(r.int()),
	}
	return t, r.done()
}

func encodeActivity(t execution.ActivityToken) []byte {
	return newToken(tokenActivity).run(t.Run).int(t.ScheduledID).text(t.ActivityID).int(int64(t.Attempt)).
		int(int64(t.StartedAt)).int(int64(t.Stamp)).bytes()
}

func decodeActivity(b []byte) (execution.ActivityToken, error) {
	r := readToken(b, tokenActivity)
	t := execution.ActivityToken{
		Run: r.run(), ScheduledID: r.int(), ActivityID: r.text(), Attempt: int32(r.int()), StartedAt: clock.Nanos(r.int()), Stamp: int32(r.int()),
	}
	if t.ScheduledID == 0 && !r.bad {
		return t, errToken // would skip the checks of the attempt
	}
	return t, r.done()
}

// queryToken names a query that waits in the memory of the node that handed it out.
type queryToken struct {
	Namespace ids.NamespaceID
	Query     string
}

func (t queryToken) encode() []byte {
	return newToken(tokenQuery).uuid(string(t.Namespace)).text(t.Query).bytes()
}

func decodeQuery(b []byte) (queryToken, error) {
	r := readToken(b, tokenQuery)
	t := queryToken{Namespace: ids.NamespaceID(r.uuid()), Query: r.text()}
	return t, r.done()
}

// historyToken is a place in a run's history.
type historyToken struct {
	Run  ids.RunKey
	Next ids.EventID // forward: the next event to send; reverse: the last one sent
	// End is exclusive; zero while the end is not fixed because the reader waits for more. Unused in reverse.
	End ids.EventID
	For pageFor
}

// pageFor tells what a forward token was given with.
type pageFor int64

const (
	pageForReader pageFor = iota
	// pageForTask: the pages have to reach the workflow task's started event (End-1), be it in history or not.
	pageForTask
	// pageForQuery: a query sees what is stored and nothing else.
	pageForQuery
)

func (t historyToken) encode(kind tokenKind) []byte {
	return newToken(kind).run(t.Run).int(t.Next).int(t.End).int(int64(t.For)).bytes()
}

func decodeHistory(b []byte, kind tokenKind) (historyToken, error) {
	r := readToken(b, kind)
	t := historyToken{Run: r.run(), Next: r.int(), End: r.int(), For: pageFor(r.int())}
	if t.Next < 1 || t.End < 0 || t.Run.Run == "" || t.For < pageForReader || t.For > pageForQuery {
		return t, errToken
	}
	return t, r.done()
}

// listToken is a place in a listing: after the visibility row of a run.
type listToken struct {
	Namespace ids.NamespaceID
	Query     uint64 // checksum of what was asked for, so that a token is not used with another question
	Closed    bool
	Time      clock.Nanos
	Run       ids.RunID
}

func (t listToken) encode() []byte {
	var closed int64
	if t.Closed {
		closed = 1
	}
	return newToken(tokenList).uuid(string(t.Namespace)).int(int64(t.Query)).int(closed).int(int64(t.Time)).uuid(string(t.Run)).bytes()
}

func decodeList(b []byte) (listToken, error) {
	r := readToken(b, tokenList)
	t := listToken{Namespace: ids.NamespaceID(r.uuid()), Query: uint64(r.int()), Closed: r.int() != 0, Time: clock.Nanos(r.int()), Run: ids.RunID(r.uuid())}
	if t.Run == "" || t.Time < 0 {
		return t, errToken
	}
	return t, r.done()
}

// batchesToken is a place in a listing of batch jobs.
type batchesToken struct {
	Namespace ids.NamespaceID
	Start     clock.Nanos
	Job       ids.BatchID
}

func (t batchesToken) encode() []byte {
	return newToken(tokenBatches).uuid(string(t.Namespace)).int(int64(t.Start)).text(string(t.Job)).bytes()
}

func decodeBatches(b []byte) (batchesToken, error) {
	r := readToken(b, tokenBatches)
	t := batchesToken{Namespace: ids.NamespaceID(r.uuid()), Start: clock.Nanos(r.int()), Job: ids.BatchID(r.text())}
	if t.Start < 0 {
		return t, errToken
	}
	return t, r.done()
}

package local

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"

	"github.com/perdure/perdure/internal/storage"
)

// ErrFailed is returned by every call after a write of the log failed: the store has to be closed and opened again. A
// batch that got it without storage.ErrUnknown was not applied.
var ErrFailed = errors.New("local: store failed, it has to be opened again")

// LockedError is returned by Open when the directory is open already, in this process or another.
type LockedError struct {
	Dir string
	Err error
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("local: %s is in use by another store: %v", e.Dir, e.Err)
}

// Unwrap is the operating system's error.
func (e *LockedError) Unwrap() error { return e.Err }

// FormatError is returned by Open when the directory was written by a later version of this software. Nothing was
// converted.
type FormatError struct {
	Dir       string
	Found     uint32
	Supported uint32 // the newest version that can be opened
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("local: %s has storage format %d, this build reads up to %d: use a newer build",
		e.Dir, e.Found, e.Supported)
}

// corrupt turns Pebble's corruption errors into the port's and leaves all others alone.
func (s *Store) corrupt(err error) error { return corruptIn(s.dir, err) }

// damaged is corrupt for errors of opening, which also meets tables that are missing or cut short and log records that
// are damaged. Pebble marks none of these as corruption; the tests of this package hold its words to what is expected.
func (s *Store) damaged(err error) error {
	if err == nil || pebble.IsCorruptionError(err) {
		return s.corrupt(err)
	}
	if errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "object size mismatch") ||
		errors.Is(err, record.ErrInvalidChunk) {
		return &storage.CorruptionError{Where: s.dir, Err: err}
	}
	return err
}

func corruptIn(where string, err error) error {
	if err == nil || !pebble.IsCorruptionError(err) {
		return err
	}
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		where = info.Path
	}
	return &storage.CorruptionError{Where: where, Err: err}
}

package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/perdure/perdure/internal/storage"
)

// partialSuffix marks a backup that is being written, so that an interrupted one is never taken for a whole one.
const partialSuffix = ".partial"

// Backup implements storage.Backuper: a directory that Open can open, with every batch acknowledged before the call.
// Tables are hard links where dir is on the same file system, so the backup costs little time and space but shares
// blocks with the store until it is copied to another disk. It is written as dir.partial and then renamed; a dir.partial
// left by an interrupted backup has to be removed by hand. The context is looked at before work begins.
func (s *Store) Backup(ctx context.Context, dir string) error {
	if err := s.calls.enter(); err != nil {
		return err
	}
	defer s.calls.leave()
	if err := s.backup(ctx, dir); err != nil {
		return fmt.Errorf("back up to %s: %w", dir, err)
	}
	return nil
}

func (s *Store) backup(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	filesystem := s.fs()
	if _, err := filesystem.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return err
	}
	if err := s.syncLog(ctx); err != nil {
		return err
	}
	partial := dir + partialSuffix
	if err := s.db.Checkpoint(partial); err != nil {
		return s.corrupt(err)
	}
	if err := filesystem.Rename(partial, dir); err != nil {
		return err
	}
	return syncDir(filesystem, filesystem.PathDir(dir))
}

// syncLog brings the log's buffer to the disk, where a backup copies it from. Pebble's own option would do so outside
// the gate and panic if the log has failed.
func (s *Store) syncLog(ctx context.Context) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	if err := s.failure(); err != nil {
		return err
	}
	return s.enqueue(func() error { return s.db.LogData(nil, pebble.Sync) })
}

// Check implements storage.Checker: it moves what is in memory into tables, verifies the checksum of every block of
// every table, and then the order of keys across tables. It reads the whole store past the cache and runs beside
// other calls. Log and manifest are verified by Open. The context is looked at before each table.
func (s *Store) Check(ctx context.Context) error {
	if err := s.calls.enter(); err != nil {
		return err
	}
	defer s.calls.leave()
	if err := s.check(ctx); err != nil {
		return fmt.Errorf("check store %s: %w", s.dir, s.corrupt(err))
	}
	return nil
}

func (s *Store) check(ctx context.Context) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	if err := s.checkTables(ctx); err != nil {
		return err
	}
	return s.db.CheckLevels(nil)
}

// flush holds the gate to begin, as a failing log panics here too.
func (s *Store) flush(ctx context.Context) (err error) {
	if err := s.lock(ctx); err != nil {
		return err
	}
	if err := s.failure(); err != nil {
		s.unlock()
		return err
	}
	var done <-chan struct{}
	err = s.enqueue(func() (err error) {
		done, err = s.db.AsyncFlush()
		return err
	})
	s.unlock()
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// checkTables verifies all tables that exist when it begins. A compaction may delete one before its turn: it verified
// what it read, so the table is left out if the store no longer refers to it.
func (s *Store) checkTables(ctx context.Context) error {
	tables, err := s.tables()
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(tables)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.checkTable(ctx, path)
		if errors.Is(err, fs.ErrNotExist) {
			now, listErr := s.tables()
			if listErr != nil {
				return listErr
			}
			if _, live := now[path]; !live {
				continue
			}
			return &storage.CorruptionError{Where: path, Err: err}
		}
		if err != nil {
			return corruptIn(path, err)
		}
	}
	return nil
}

func (s *Store) tables() (map[string]struct{}, error) {
	levels, err := s.db.SSTables()
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	paths := make(map[string]struct{})
	for _, level := range levels {
		for _, t := range level {
			paths[s.fs().PathJoin(s.dir, t.BackingSSTNum.String()+".sst")] = struct{}{}
		}
	}
	return paths, nil
}

func (s *Store) checkTable(ctx context.Context, path string) (err error) {
	f, err := s.fs().Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(ctx, readable, s.readerOptions)
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}

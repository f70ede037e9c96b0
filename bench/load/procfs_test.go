package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func stat(pid int, name string, parent int, ticks ...int) string {
	return fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194560 1 2 3 4 %d %d %d %d 20 0 1 0\n", pid, name, parent, ticks[0], ticks[1], ticks[2], ticks[3])
}

func TestStatIsReadPastAnyName(t *testing.T) {
	for _, name := range []string{"perdure", "a b", "a) S 99 (b", ")"} {
		pid, got, err := parseStat(stat(7, name, 3, 1, 2, 30, 40))
		if want := (usage{parent: 3, cpu: 730 * time.Millisecond}); err != nil || pid != 7 || got != want {
			t.Errorf("%q: %d, %v, %v; want %v", name, pid, got, err, want)
		}
	}
	for _, line := range []string{"", "7 perdure S 3", "x (y) S 3 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 9", "7 (y) S 3 1 1"} {
		if _, _, err := parseStat(line); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}

func TestFamilyIsAllDescendants(t *testing.T) {
	dir := t.TempDir()
	for pid, parent := range map[int]int{1: 0, 40: 1, 30: 40, 20: 30, 50: 1, 60: 20} {
		at := filepath.Join(dir, fmt.Sprint(pid))
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, "stat"), []byte(stat(pid, "x", parent, 0, 0, 0, 0)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ roots, want []int }{
		{nil, nil}, {[]int{40}, []int{20, 30, 40, 60}}, {[]int{50, 20}, []int{20, 50, 60}}, {[]int{30, 40}, []int{20, 30, 40, 60}},
	} {
		members, err := family(dir, c.roots)
		if got := slices.Sorted(maps.Keys(members)); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, %v; want %v", c.roots, got, err, c.want)
		}
	}
	if _, err := family(dir, []int{70}); err == nil {
		t.Error("a process that is not there was found")
	}
}

func TestThisProcessIsSeen(t *testing.T) {
	me := []int{os.Getpid()}
	for ownCPU() < 50*time.Millisecond { // something to see
	}
	before := ownCPU()
	seen, err := cpuOf(me)
	if err != nil || seen < before-2*tick || seen > ownCPU()+2*tick {
		t.Errorf("cpu: %s, %v; between %s and %s", seen, err, before, ownCPU())
	}
	if bytes, err := residentOf(me); err != nil || bytes < 1<<20 || bytes > 1<<34 {
		t.Errorf("resident: %d, %v", bytes, err)
	}
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of CPU times in /proc: the kernel shows user space 100 of them a second on every architecture Go runs on.
const tick = 10 * time.Millisecond

// usage is what /proc/PID/stat says of one.
type usage struct {
	parent int
	cpu    time.Duration // its own, and that of children that have ended and been waited for
}

// family is the given processes and all that descend from them. A server may hand its work to others, as PostgreSQL does, and
// its bill includes theirs.
func family(procfs string, roots []int) (map[int]usage, error) {
	if len(roots) == 0 {
		return nil, nil
	}
	all := make(map[int]usage)
	stats, err := filepath.Glob(filepath.Join(procfs, "[0-9]*", "stat"))
	if err != nil {
		return nil, err
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it ended meanwhile
		}
		pid, p, err := parseStat(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[pid] = p
	}
	members := make(map[int]usage)
	for _, pid := range roots {
		p, there := all[pid]
		if !there {
			return nil, fmt.Errorf("there is no process %d", pid)
		}
		members[pid] = p
	}
	for grown := true; grown; {
		grown = false
		for pid, p := range all {
			_, in := members[pid]
			if _, child := members[p.parent]; child && !in {
				members[pid], grown = p, true
			}
		}
	}
	return members, nil
}

// parseStat reads a line of /proc/PID/stat. The name of the program, in parentheses, may hold anything, so that the fields are
// counted from the last parenthesis.
func parseStat(line string) (int, usage, error) {
	head, rest, found := cutLast(line, ")")
	number, _, _ := strings.Cut(head, " ")
	pid, err := strconv.Atoi(number)
	fields := strings.Fields(rest)
	if !found || err != nil || len(fields) < 15 {
		return 0, usage{}, fmt.Errorf("not a line of stat: %q", line)
	}
	// After the name: state, parent, … and utime, stime, cutime, cstime as the 12th to 15th.
	p := usage{}
	if p.parent, err = strconv.Atoi(fields[1]); err != nil {
		return 0, usage{}, err
	}
	for _, field := range fields[11:15] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, usage{}, err
		}
		p.cpu += time.Duration(ticks) * tick
	}
	return pid, p, nil
}

func cutLast(s, separator string) (before, after string, found bool) {
	if at := strings.LastIndex(s, separator); at >= 0 {
		return s[:at], s[at+len(separator):], true
	}
	return s, "", false
}

// cpuOf is the CPU time that the processes and their descendants have used so far.
func cpuOf(roots []int) (time.Duration, error) {
	members, err := family("/proc", roots)
	var sum time.Duration
	for _, p := range members {
		sum += p.cpu
	}
	return sum, err
}

// residentOf is the memory of the processes and their descendants, in bytes. Shared pages count in shares (PSS), so that
// processes which share a large buffer do not count it once each.
func residentOf(roots []int) (int64, error) {
	members, err := family("/proc", roots)
	if err != nil {
		return 0, err
	}
	var sum int64
	for pid := range members {
		bytes, err := pss(filepath.Join("/proc", strconv.Itoa(pid)))
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ESRCH) {
			return 0, err
		}
		sum += bytes
	}
	return sum, nil
}

func pss(dir string) (int64, error) {
	text, err := os.ReadFile(filepath.Join(dir, "smaps_rollup"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "Pss:"); found {
			number, _, _ := strings.Cut(strings.TrimSpace(value), " ")
			kilobytes, err := strconv.ParseInt(number, 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, nil // a kernel thread has none
}

// ownCPU is the CPU time of this process: exact, unlike that of others.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are constants
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

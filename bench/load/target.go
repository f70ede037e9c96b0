package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The SDKs a target can be driven with.
const (
	official = "official" // go.temporal.io/sdk over gRPC
	own      = "own"      // the Go SDK of this repository over gRPC
	inside   = "embedded" // the same, with a server of its own in this process
	restate  = "restate"  // github.com/restatedev/sdk-go, for a server of Restate
)

// target is what is measured: a server together with the SDK that talks to it.
type target struct {
	name    string
	address string
	sdk     string
	admin   string // restate: where its admin API is
	memory  bool   // embedded: keeps nothing on disk
	pids    []int  // processes of the server, whose descendants count too
}

// parseTarget reads name=host:port[,sdk=official|own|embedded|restate][,admin=host:port][,pid=N…][,memory].
func parseTarget(text string) (*target, error) {
	name, rest, found := strings.Cut(text, "=")
	if !found || name == "" {
		return nil, fmt.Errorf("target %q: want name=host:port[,sdk=…][,pid=…]", text)
	}
	words := strings.Split(rest, ",")
	t := &target{name: name, address: words[0], sdk: official}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "sdk":
			t.sdk = value
		case "admin":
			t.admin = value
		case "memory":
			t.memory = true
		case "pid":
			pid, err := strconv.Atoi(value)
			if err != nil {
				return nil, fmt.Errorf("target %s: pid %q is not a number", name, value)
			}
			t.pids = append(t.pids, pid)
		default:
			return nil, fmt.Errorf("target %s: there is no option %q", name, key)
		}
	}
	return t, t.check()
}

func (t *target) check() error {
	switch {
	case !slices.Contains([]string{official, own, inside, restate}, t.sdk):
		return fmt.Errorf("target %s: there is no SDK %q", t.name, t.sdk)
	case (t.sdk == inside) != (t.address == ""):
		return fmt.Errorf("target %s: an address is for all but sdk=embedded, which has its server inside", t.name)
	case (t.sdk == restate) != (t.admin != ""):
		return fmt.Errorf("target %s: admin is for sdk=restate, which needs it", t.name)
	case t.memory && t.sdk != inside:
		return fmt.Errorf("target %s: memory is for sdk=embedded", t.name)
	}
	return nil
}

// targetList is the value of the repeated flag -target.
type targetList []*target

func (l *targetList) String() string { return "" }

func (l *targetList) Set(text string) error {
	t, err := parseTarget(text)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(*l, func(other *target) bool { return other.name == t.name }) {
		return fmt.Errorf("two targets are called %s", t.name)
	}
	*l = append(*l, t)
	return nil
}

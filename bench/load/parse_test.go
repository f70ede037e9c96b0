package main

import (
	"reflect"
	"testing"
)

func TestTargetsAreRead(t *testing.T) {
	for text, want := range map[string]target{
		"stub=127.0.0.1:7001,pid=123":             {name: "stub", address: "127.0.0.1:7001", sdk: official, pids: []int{123}},
		"pg=h:1,pid=1,pid=2":                      {name: "pg", address: "h:1", sdk: official, pids: []int{1, 2}},
		"own=127.0.0.1:7002,sdk=own":              {name: "own", address: "127.0.0.1:7002", sdk: own},
		"embedded=,sdk=embedded":                  {name: "embedded", sdk: inside},
		"restate=h:1,sdk=restate,admin=h:2,pid=3": {name: "restate", address: "h:1", sdk: restate, admin: "h:2", pids: []int{3}},
		"embedded in memory=,sdk=embedded,memory": {name: "embedded in memory", sdk: inside, memory: true},
	} {
		if got, err := parseTarget(text); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "a", "=h:1", "a=", "a=h:1,sdk=java", "a=h:1,sdk=embedded", "a=h:1,memory", "a=h:1,pid=x", "a=h:1,speed=9",
		"a=h:1,sdk=restate", "a=h:1,sdk=own,admin=h:2", "a=h:1,admin=h:2", "a=,sdk=restate,admin=h:2",
	} {
		if _, err := parseTarget(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	var l targetList
	if err := l.Set("a=h:1"); err != nil {
		t.Error(err)
	}
	if l.Set("a=h:2") == nil {
		t.Error("two targets of one name")
	}
}

func TestCombosAreRead(t *testing.T) {
	combos, err := parseCombos("empty, activity@1,open@4", 9, []int{0, 50})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range combos {
		got = append(got, c.String())
	}
	if want := []string{"empty@9", "activity@1", "open:0@4", "open:50@4"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, text := range []string{"", "idle", "empty@", "empty@x", "empty@0"} {
		if _, err := parseCombos(text, 1, nil); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if _, err := parse([]string{"-scenarios", usual}); err != nil {
		t.Errorf("the usual ones: %v", err)
	}
}

func TestSizesRise(t *testing.T) {
	if got, err := parseSizes("0, 5,5,9"); err != nil || !reflect.DeepEqual(got, []int{0, 5, 5, 9}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "x", "-1", "5,4"} {
		if _, err := parseSizes(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestPointsGoUpToTheLast(t *testing.T) {
	for last, want := range map[int][]int{10: {10}, 1000: {1000}, 1001: {1000, 1001}, 50_000: {1000, 10_000, 50_000}} {
		if got := points(last); !reflect.DeepEqual(got, want) {
			t.Errorf("%d: %v, want %v", last, got, want)
		}
	}
}

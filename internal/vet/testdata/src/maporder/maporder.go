// Package maporder goes through maps.
package maporder

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/perdure/perdure/workflow"
)

type Stock struct {
	items  map[string]int
	prices map[string]float64
	names  []string
	log    strings.Builder
	tables map[int]map[string]int
	count  int
}

func (s *Stock) Run(ctx workflow.Context) error {
	for name := range s.items { // want `^map-order: a range over a map goes another way on each replay; range over its sorted keys$`
		workflow.Logger(ctx).Info(name)
	}
	for name, n := range s.items { // want `^map-order`
		s.log.WriteString(fmt.Sprint(name, n))
	}
	sum := 0.0
	for _, p := range s.prices { // want `^map-order`
		sum += p // rounding depends on the order
	}
	text := ""
	for name := range s.items { // want `^map-order`
		text += name
	}
	for name := range s.items { // want `^map-order`
		s.names = append(s.names, name)
	}
	var some []string
	for name := range s.items { // want `^map-order`
		some = append(some, name)
	}
	some = some[:1]
	slices.Sort(some)
	for name := range s.items { // want `^map-order`
		if len(s.names) < 3 { // the first three
			s.names = append(s.names, name)
		}
	}
	slices.Sort(s.names)
	last, first := "", ""
	for name := range s.items { // want `^map-order`
		last = name
	}
	for name := range s.items { // want `^map-order`
		first = name
		break
	}
	for name, n := range s.items { // want `^map-order`
		if n > 3 {
			return fmt.Errorf("too many of %s", name)
		}
	}
	n := 0
	for _, m := range s.items { // want `^map-order`
		n -= m
		n *= 2
	}
	byName := map[string]int{}
	for name, n := range s.items { // want `^map-order`
		for other := range s.tables { // want `^map-order`
			byName[name] = other + n
		}
	}
	for _, n := range s.items { // want `^map-order`
		byName["x"] = n
	}
	for name := range maps.Keys(s.items) { // want `^map-order: maps.Keys has no order`
		workflow.Logger(ctx).Info(name)
	}
	for _, n := range s.items { // want `^map-order`
		if s.note(n) {
			byName["y"] = 1
		}
	}
	for name, n := range s.items { // want `^map-order`
		s.count += n
		byName[name] = s.twice(n) // reads the sum
	}
	keys := slices.Collect(maps.Keys(s.items)) // want `^map-order: maps.Keys has no order; put it into slices.Sorted$`
	_ = reflect.ValueOf(s.items).MapKeys()     // want `^map-order: reflect.Value.MapKeys has no order`
	_, _, _ = last, first, keys
	return nil
}

func (s *Stock) reset() {}

func (s *Stock) note(n int) bool { s.names = append(s.names, "x"); return n > 3 }

func (s *Stock) twice(n int) int { return double(n) + s.count }

func double(n int) int { return 2 * n }

// Good has the same result in any order.
func (s *Stock) Good(ctx workflow.Context, limit int) (bool, error) {
	total, most, rich := 0, 0, false
	var names []string
	for name, n := range s.items {
		total += n
		if n > most {
			most = n
		}
		most = max(most, n)
		if n > limit && strings.HasPrefix(name, "x") {
			rich = true
		}
		names = append(names, name)
	}
	slices.Sort(names)
	var pairs []string
	for name, n := range s.items {
		line := fmt.Sprintf("%s %d", name, n)
		pairs = append(pairs, line)
	}
	sort.Slice(pairs, func(i, j int) bool { return pairs[i] < pairs[j] })
	for name, n := range s.items {
		if n == 0 {
			delete(s.items, name)
			continue
		}
		total++
	}
	other, seen := map[string]int{}, map[int]bool{}
	for name, n := range s.items {
		other[name] = n + 1
		seen[n] = true
	}
	for name, n := range s.items {
		if double(n) > s.twice(3) {
			other[name] = double(n)
		}
	}
	for range s.items {
		for range s.tables {
			total++
		}
		s.reset()
	}
	for _, table := range s.tables {
		for range table {
			total++
		}
	}
	for _, n := range s.items {
		if n > limit {
			return true, nil
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.items)) {
		workflow.Logger(ctx).Info(name)
	}
	keys := slices.Collect(maps.Keys(s.items))
	slices.Sort(keys)
	copied := maps.Collect(maps.All(s.items))
	return rich && len(copied) > 0, nil
}

package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// A fault changes one thing in what the clients of one workflow ID noted, as if the server had done wrong. Each must be found
// out: a check that overlooks it proves nothing. It returns nil where it can not be planted.
type fault struct {
	name  string
	plant func(rng *rand.Rand, ops []*operation) []*operation
}

var faults = []fault{
	{"lost", plantLost},
	{"doubled", plantDoubled},
	{"reordered", plantReordered},
	{"stale", plantStale},
	{"unsent", plantUnsent},
	{"refused", plantRefused},
	{"rolled-back", plantRolledBack},
	{"begun-twice", plantBegunTwice},
}

func faultNames() []string {
	var names []string
	for _, f := range faults {
		names = append(names, f.name)
	}
	return names
}

func faultNamed(name string) (fault, error) {
	for _, f := range faults {
		if f.name == name {
			return f, nil
		}
	}
	return fault{}, fmt.Errorf("no fault is called %q; there are %v", name, faultNames())
}

// into plants f into the first workflow that can have it, in an order drawn from rng. The operations given stay as they are.
func (f fault) into(rng *rand.Rand, all map[string][]*operation) (workflow string, ops []*operation) {
	ids := slices.Sorted(maps.Keys(all))
	rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for _, id := range ids {
		if ops := f.plant(rng, all[id]); ops != nil {
			return id, ops
		}
	}
	return "", nil
}

// change replaces one operation, drawn among those that fit, by a copy that edit has changed.
func change(rng *rand.Rand, ops []*operation, fits func(*operation) bool, edit func(*operation)) []*operation {
	for _, i := range rng.Perm(len(ops)) {
		if !fits(ops[i]) {
			continue
		}
		changed := *ops[i]
		edit(&changed)
		out := slices.Clone(ops)
		out[i] = &changed
		return out
	}
	return nil
}

// acknowledged is the operation that an item is from, if it was sent once and its answer came.
func acknowledged(ops []*operation, item int) *operation {
	var found *operation
	for _, o := range ops {
		if o.Call.Item != item {
			continue
		}
		if found != nil || len(o.Spans) > 1 || o.Answer.Result != done {
			return nil
		}
		found = o
	}
	return found
}

// others says whether another answer shows the same chain, which was begun once, and has the property.
func others(ops []*operation, o *operation, is func(*operation) bool) bool {
	return !begunTwice(ops, o.Answer.Chain) && slices.ContainsFunc(ops, func(other *operation) bool {
		return other != o && other.Answer.Chain == o.Answer.Chain && is(other)
	})
}

// plantLost takes an acknowledged item out of the middle of a list that was asked for afterwards. Another answer shows the item
// in this chain, or it may have gone into one before.
func plantLost(rng *rand.Rand, ops []*operation) []*operation {
	victim := func(o *operation) int {
		items := list(o.Answer.Items).items()
		for _, item := range items[:max(len(items)-1, 0)] {
			a := acknowledged(ops, item)
			if a != nil && a.last().To < o.last().From && others(ops, o, func(other *operation) bool { return other.shows(item) }) {
				return item
			}
		}
		return 0
	}
	return change(rng, ops, func(o *operation) bool { return victim(o) != 0 }, func(o *operation) {
		rest, _ := without(list(o.Answer.Items), victim(o))
		o.Answer.Items = string(rest)
	})
}

// plantDoubled repeats an item at the end of a list.
func plantDoubled(rng *rand.Rand, ops []*operation) []*operation {
	return change(rng, ops, func(o *operation) bool { return o.Answer.Items != "" }, func(o *operation) {
		items := list(o.Answer.Items).items()
		o.Answer.Items = string(list(o.Answer.Items).with(items[rng.IntN(len(items))]))
	})
}

// plantReordered swaps the first two items of a list that another answer shows too.
func plantReordered(rng *rand.Rand, ops []*operation) []*operation {
	fits := func(o *operation) bool {
		items := list(o.Answer.Items).items()
		return len(items) > 2 && others(ops, o, func(other *operation) bool { return other.shows(items[1]) })
	}
	return change(rng, ops, fits, func(o *operation) {
		items := list(o.Answer.Items).items()
		items[0], items[1] = items[1], items[0]
		o.Answer.Items = string(listOf(items))
	})
}

// plantStale makes a query miss the last item, which was acknowledged before it was asked. An update shows it later: the workflow
// was not terminated, which would be an excuse.
func plantStale(rng *rand.Rand, ops []*operation) []*operation {
	last := func(o *operation) int {
		items := list(o.Answer.Items).items()
		return items[len(items)-1]
	}
	fits := func(o *operation) bool {
		if o.Call.Kind != kindRead || o.Answer.Items == "" {
			return false
		}
		a := acknowledged(ops, last(o))
		return a != nil && a.last().To < o.last().From &&
			others(ops, o, func(other *operation) bool {
				return other.begun() > o.last().To && other.Call.Kind == kindAppend && !other.Repeat && other.shows(last(o))
			})
	}
	return change(rng, ops, fits, func(o *operation) {
		rest, _ := without(list(o.Answer.Items), last(o))
		o.Answer.Items = string(rest)
	})
}

// soleAppend says whether an item that is there is the work of this operation alone.
func soleAppend(ops []*operation, o *operation) bool {
	return (o.Call.Kind == kindSignal || o.Call.Kind == kindAppend) && acknowledged(ops, o.Call.Item) == o && traceOf(ops, o).first != never
}

// plantUnsent forgets who sent an item that is there.
func plantUnsent(rng *rand.Rand, ops []*operation) []*operation {
	for _, i := range rng.Perm(len(ops)) {
		if soleAppend(ops, ops[i]) {
			return slices.Delete(slices.Clone(ops), i, i+1)
		}
	}
	return nil
}

// plantRefused turns the acknowledgement of an item that is there into a refusal.
func plantRefused(rng *rand.Rand, ops []*operation) []*operation {
	return change(rng, ops, func(o *operation) bool { return soleAppend(ops, o) }, func(o *operation) { o.Answer = answer{Result: refused} })
}

// plantRolledBack lets a query see a chain that a later one had replaced.
func plantRolledBack(rng *rand.Rand, ops []*operation) []*operation {
	old := func(o *operation) *operation {
		for _, other := range ops {
			if other.Call.Kind == kindRead && other.Answer.Chain != 0 && other.Answer.Chain != o.Answer.Chain && other.last().To < o.begun() &&
				!begunTwice(ops, other.Answer.Chain) {
				return other
			}
		}
		return nil
	}
	fits := func(o *operation) bool {
		return o.Call.Kind == kindRead && o.Answer.Result == done && old(o) != nil &&
			slices.ContainsFunc(ops, func(other *operation) bool {
				return other.Call.Kind == kindRead && other.Answer.Chain == o.Answer.Chain && other.last().To < o.begun() && other.begun() > old(o).last().To
			})
	}
	return change(rng, ops, fits, func(o *operation) { o.Answer = old(o).Answer })
}

// plantBegunTwice says of a start that it began a chain, where the one that was there went on. A call that is repeated after it
// would be no proof of that.
func plantBegunTwice(rng *rand.Rand, ops []*operation) []*operation {
	fits := func(o *operation) bool {
		return o.Call.Kind == kindStart && o.Answer.Told && !o.Answer.Started && o.Answer.Chain != 0 &&
			others(ops, o, func(other *operation) bool { return other.last().To < o.begun() }) &&
			others(ops, o, func(other *operation) bool { return other.begun() > o.last().To && !other.Repeat })
	}
	return change(rng, ops, fits, func(o *operation) { o.Answer.Started, o.Answer.Chain = true, o.Call.Chain })
}

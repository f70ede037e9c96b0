package filter

import (
	"math"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/clock"
)

// A pin is a fact that holds for one attribute of every record a query matches. Pins are sound, not complete: a
// missing one costs a planner an index, a wrong one would lose records, so negations pin nothing.

// Bounds is a range of moments, both ends included. Ends that nothing bounds are the least and greatest Nanos. From
// after To means that no record can match.
type Bounds struct {
	From, To clock.Nanos
}

// Empty reports whether no moment is within the bounds.
func (b Bounds) Empty() bool { return b.From > b.To }

var unbounded = Bounds{From: math.MinInt64, To: math.MaxInt64}

// EqualTo is the set of values, sorted, to which the query pins a Keyword attribute by = and IN; through AND it is
// the common values, through OR all of them. ok is false when the query leaves the attribute open; an empty set with
// ok means that nothing can match. attribute is a canonical name and the values are as stored.
func (q *Query) EqualTo(attribute string) (values []string, ok bool) {
	if q.where == nil {
		return nil, false
	}
	return q.where.equalTo(attribute)
}

// Prefix is the longest prefix the query demands of a Keyword attribute through STARTS_WITH in its top-level AND
// chain; ok is false when it demands none.
func (q *Query) Prefix(attribute string) (prefix string, ok bool) {
	if q.where == nil {
		return "", false
	}
	return q.where.prefix(attribute)
}

// TimeBounds is the range to which the query pins a Datetime attribute; ok is false when neither end is bound. A
// pinned attribute is also set: for CloseTime, the query asks for closed executions only.
func (q *Query) TimeBounds(attribute string) (bounds Bounds, ok bool) {
	if q.where == nil {
		return unbounded, false
	}
	return q.where.timeBounds(attribute)
}

// RequiresNull reports whether only records without the attribute can match, as in CloseTime IS NULL.
func (q *Query) RequiresNull(attribute string) bool {
	return q.where != nil && q.where.requiresNull(attribute)
}

type pinner interface {
	equalTo(attribute string) ([]string, bool)
	prefix(attribute string) (string, bool)
	timeBounds(attribute string) (Bounds, bool)
	requiresNull(attribute string) bool
}

func (e *notExpr) equalTo(string) ([]string, bool)  { return nil, false }
func (e *notExpr) prefix(string) (string, bool)     { return "", false }
func (e *notExpr) timeBounds(string) (Bounds, bool) { return unbounded, false }
func (e *notExpr) requiresNull(string) bool         { return false }

func (e *andExpr) equalTo(attribute string) (common []string, pinned bool) {
	for _, t := range e.terms {
		values, ok := t.equalTo(attribute)
		switch {
		case !ok:
		case !pinned:
			common, pinned = values, true
		default:
			common = slices.DeleteFunc(common, func(v string) bool {
				_, found := slices.BinarySearch(values, v)
				return !found
			})
		}
	}
	return common, pinned
}

func (e *andExpr) prefix(attribute string) (longest string, pinned bool) {
	for _, t := range e.terms {
		if p, ok := t.prefix(attribute); ok && len(p) >= len(longest) {
			longest, pinned = p, true
		}
	}
	return longest, pinned
}

func (e *andExpr) timeBounds(attribute string) (Bounds, bool) {
	common, pinned := unbounded, false
	for _, t := range e.terms {
		if b, ok := t.timeBounds(attribute); ok {
			common = Bounds{From: max(common.From, b.From), To: min(common.To, b.To)}
			pinned = true
		}
	}
	return common, pinned
}

func (e *andExpr) requiresNull(attribute string) bool {
	return slices.ContainsFunc(e.terms, func(t expr) bool { return t.requiresNull(attribute) })
}

func (e *orExpr) equalTo(attribute string) ([]string, bool) {
	var all []string
	for _, t := range e.terms {
		values, ok := t.equalTo(attribute)
		if !ok {
			return nil, false
		}
		all = append(all, values...)
	}
	slices.Sort(all)
	return slices.Compact(all), true
}

// prefix is rarely shared by alternatives; not worth computing.
func (e *orExpr) prefix(string) (string, bool) { return "", false }

func (e *orExpr) timeBounds(attribute string) (Bounds, bool) {
	hull := Bounds{From: math.MaxInt64, To: math.MinInt64}
	for _, t := range e.terms {
		b, ok := t.timeBounds(attribute)
		switch {
		case !ok:
			return unbounded, false
		case !b.Empty():
			hull = Bounds{From: min(hull.From, b.From), To: max(hull.To, b.To)}
		}
	}
	return hull, true
}

func (e *orExpr) requiresNull(attribute string) bool {
	return !slices.ContainsFunc(e.terms, func(t expr) bool { return !t.requiresNull(attribute) })
}

// positive reports a condition on this attribute that is not negated.
func (c *condition) positive(attribute string, typ enumspb.IndexedValueType) bool {
	return c.Name == attribute && c.Type == typ && !c.negated
}

func (c *condition) equalTo(attribute string) ([]string, bool) {
	if !c.positive(attribute, enumspb.INDEXED_VALUE_TYPE_KEYWORD) || c.op != opEqual && c.op != opIn {
		return nil, false
	}
	values := make([]string, len(c.args))
	for i, v := range c.args {
		values[i] = v.str
	}
	return values, true
}

func (c *condition) prefix(attribute string) (string, bool) {
	if !c.positive(attribute, enumspb.INDEXED_VALUE_TYPE_KEYWORD) || c.op != opStartsWith {
		return "", false
	}
	return c.args[0].str, true
}

func (c *condition) timeBounds(attribute string) (Bounds, bool) {
	if !c.positive(attribute, enumspb.INDEXED_VALUE_TYPE_DATETIME) || len(c.args) == 0 {
		return unbounded, false
	}
	first, last := clock.Nanos(c.args[0].num), clock.Nanos(c.args[len(c.args)-1].num)
	switch c.op {
	case opLess:
		if first == math.MinInt64 {
			return Bounds{From: math.MaxInt64, To: math.MinInt64}, true
		}
		return Bounds{From: math.MinInt64, To: first - 1}, true
	case opLessEqual:
		return Bounds{From: math.MinInt64, To: first}, true
	case opGreater:
		if first == math.MaxInt64 {
			return Bounds{From: math.MaxInt64, To: math.MinInt64}, true
		}
		return Bounds{From: first + 1, To: math.MaxInt64}, true
	case opGreaterEqual:
		return Bounds{From: first, To: math.MaxInt64}, true
	}
	// =, BETWEEN and IN, whose literals are sorted.
	return Bounds{From: first, To: last}, true
}

func (c *condition) requiresNull(attribute string) bool {
	return c.Name == attribute && c.op == opIsNull && !c.negated
}

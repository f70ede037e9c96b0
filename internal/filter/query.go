package filter

import (
	"slices"
	"strings"
)

// Options chooses what a query may contain besides its condition. The zero value allows nothing more.
type Options struct {
	OrderBy bool // one sortable attribute; otherwise any ORDER BY is refused
	GroupBy bool // one groupable attribute, for Count; otherwise any GROUP BY is refused
}

// Query is a checked query. It is immutable and safe for concurrent use.
type Query struct {
	where     expr // nil matches every record
	groupBy   *name
	orderBy   *Order
	mentioned []string // canonical names, sorted
}

// name is an attribute with the name the query called it by, which a namespace may have chosen.
type name struct {
	written string
	Attribute
}

// Order is one ORDER BY term. Nulls are the store's to place.
type Order struct {
	Attribute
	Descending bool
	written    string
}

// Parse reads and checks a query. Names are resolved exactly, then as the ScheduleId alias, then with the Temporal
// prefix added or removed. The empty query matches every record. Every error is an *Error. Input of any length and
// depth is safe: MaxQueryLength and MaxQueryDepth bound the work.
func Parse(query string, resolve Resolver, opts Options) (*Query, error) {
	stmt, err := parse(query)
	if err != nil {
		return nil, err
	}
	c := &checker{resolve: resolve, mentioned: map[string]bool{}}
	return c.statement(stmt, opts)
}

// GroupBy is the attribute to count by; false when the query has no GROUP BY.
func (q *Query) GroupBy() (Attribute, bool) {
	if q.groupBy == nil {
		return Attribute{}, false
	}
	return q.groupBy.Attribute, true
}

// OrderBy is the requested order; false when the query leaves it to the store.
func (q *Query) OrderBy() (Order, bool) {
	if q.orderBy == nil {
		return Order{}, false
	}
	return *q.orderBy, true
}

// Mentions reports whether the query names the attribute anywhere, by its canonical name.
func (q *Query) Mentions(attribute string) bool {
	_, found := slices.BinarySearch(q.mentioned, attribute)
	return found
}

// MentionsDivision reports whether the query names TemporalNamespaceDivision. If it does not, the store returns only
// records in which that attribute is unset: schedules, batches and their like stay hidden.
func (q *Query) MentionsDivision() bool { return q.Mentions(NamespaceDivision) }

// Attributes lists the canonical names the query mentions, sorted: what a record must be able to answer.
func (q *Query) Attributes() []string { return slices.Clone(q.mentioned) }

// Match reports whether the condition is true of rec; false and unknown both leave the record out.
func (q *Query) Match(rec Record) bool { return q.where == nil || q.where.eval(rec) == yes }

// String is the query in a canonical spelling that parses, with the same resolver, to an equal query.
func (q *Query) String() string {
	var parts []string
	if q.where != nil {
		var b strings.Builder
		q.where.format(&b)
		parts = append(parts, b.String())
	}
	if q.groupBy != nil {
		parts = append(parts, "GROUP BY "+quoteName(q.groupBy.written))
	}
	if q.orderBy != nil {
		parts = append(parts, "ORDER BY "+quoteName(q.orderBy.written))
		if q.orderBy.Descending {
			parts = append(parts, "DESC")
		}
	}
	return strings.Join(parts, " ")
}

package filter

import (
	"maps"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
)

type operator uint8

const (
	opEqual operator = iota
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
	opIn
	opBetween
	opStartsWith
	opIsNull
)

// spelling is the operator as errors and String write it.
func (o operator) spelling(negated bool) string {
	plain := [...]string{"=", "<", "<=", ">", ">=", "in", "between", "starts_with", "is null"}[o]
	switch {
	case !negated:
		return plain
	case o == opEqual:
		return "!="
	case o == opIsNull:
		return "is not null"
	}
	return "not " + plain
}

// allowed is the table of operators per type. Every type can be tested for null.
func (o operator) allowed(typ enumspb.IndexedValueType) bool {
	switch typ {
	case enumspb.INDEXED_VALUE_TYPE_KEYWORD:
		return true
	case enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST:
		return o == opEqual || o == opIn || o == opIsNull
	case enumspb.INDEXED_VALUE_TYPE_TEXT, enumspb.INDEXED_VALUE_TYPE_BOOL:
		return o == opEqual || o == opIsNull
	case enumspb.INDEXED_VALUE_TYPE_INT, enumspb.INDEXED_VALUE_TYPE_DOUBLE, enumspb.INDEXED_VALUE_TYPE_DATETIME:
		return o != opStartsWith
	}
	return false
}

// checker turns syntax into expressions: it resolves names and reads literals by type.
type checker struct {
	resolve   Resolver
	mentioned map[string]bool
}

func (c *checker) statement(stmt *statement, opts Options) (*Query, error) {
	q := &Query{}
	var err error
	if stmt.where != nil {
		if q.where, err = c.expr(stmt.where); err != nil {
			return nil, err
		}
	}
	if q.groupBy, err = c.groupBy(stmt.groupBy, opts.GroupBy); err != nil {
		return nil, err
	}
	if q.orderBy, err = c.orderBy(stmt.orderBy, opts.OrderBy); err != nil {
		return nil, err
	}
	if stmt.limit != "" {
		return nil, unsupported("'%s' clause", stmt.limit)
	}
	q.mentioned = slices.Sorted(maps.Keys(c.mentioned))
	return q, nil
}

func (c *checker) name(written string) (name, error) {
	a, ok := lookup(c.resolve, written)
	if !ok {
		return name{}, invalidExpression("column name '%s' is not a valid search attribute", clip(written))
	}
	c.mentioned[a.Name] = true
	return name{written: written, Attribute: a}, nil
}

func (c *checker) groupBy(names []string, allowed bool) (*name, error) {
	switch {
	case len(names) == 0:
		return nil, nil
	case !allowed:
		return nil, unsupported("'group by' clause")
	case len(names) > 1:
		return nil, refuse("'GROUP BY' clause supports only a single field")
	}
	n, err := c.name(names[0])
	if err != nil {
		return nil, err
	}
	if !n.Groupable {
		return nil, refuse("'GROUP BY' clause is not supported for search attribute %s", n.written)
	}
	return &n, nil
}

func (c *checker) orderBy(orderings []ordering, allowed bool) (*Order, error) {
	switch {
	case len(orderings) == 0:
		return nil, nil
	case !allowed:
		return nil, unsupported("'order by' clause")
	case len(orderings) > 1:
		return nil, refuse("'ORDER BY' clause supports only a single field")
	}
	n, err := c.name(orderings[0].name)
	if err != nil {
		return nil, err
	}
	switch n.Type {
	case enumspb.INDEXED_VALUE_TYPE_TEXT, enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST:
		return nil, refuse("'ORDER BY' clause is not supported for search attribute %s of type %s", n.written, n.Type)
	}
	return &Order{Attribute: n.Attribute, Descending: orderings[0].descending, written: n.written}, nil
}

// expr recurses as deep as the parser let the query nest.
func (c *checker) expr(s *syntax) (expr, error) {
	switch {
	case s.leaf != nil:
		return c.condition(s.leaf)
	case s.not != nil:
		inner, err := c.expr(s.not)
		return &notExpr{inner}, err
	case s.and != nil:
		terms, err := c.terms(s.and)
		return &andExpr{terms}, err
	}
	terms, err := c.terms(s.or)
	return &orExpr{terms}, err
}

func (c *checker) terms(nodes []*syntax) ([]expr, error) {
	terms := make([]expr, len(nodes))
	for i, s := range nodes {
		var err error
		if terms[i], err = c.expr(s); err != nil {
			return nil, err
		}
	}
	return terms, nil
}

func (c *checker) condition(p *predicate) (expr, error) {
	if p.left.kind != operandName {
		return nil, invalidExpression("the left side of '%s' must be a search attribute name", clip(p.source))
	}
	n, err := c.name(p.left.text)
	if err != nil {
		return nil, err
	}
	cond := &condition{name: n, op: p.op, negated: p.negated}
	if !p.op.allowed(n.Type) {
		return nil, cond.notAllowed(p)
	}
	for _, o := range p.right {
		v, err := literal(n, o)
		if err != nil {
			return nil, err
		}
		cond.args = append(cond.args, v)
	}
	cond.prepare()
	return cond, nil
}

func (c *condition) notAllowed(p *predicate) error {
	if p.op == opBetween {
		return refuse("cannot do range condition on search attribute '%s' of type %s", c.written, c.Type)
	}
	return refuse("operator '%s' not supported for %s type search attribute in `%s`",
		p.op.spelling(p.negated), c.Type, clip(p.source))
}

// prepare does once what every Match would repeat.
func (c *condition) prepare() {
	switch {
	case c.op == opIn:
		slices.SortFunc(c.args, compareArgs)
		c.args = slices.CompactFunc(c.args, func(a, b Value) bool { return compareArgs(a, b) == 0 })
	case c.op == opEqual && c.Type == enumspb.INDEXED_VALUE_TYPE_TEXT:
		c.words = slices.Collect(words(c.args[0].str))
	}
}

// compareArgs orders literals of one condition, which always mix.
func compareArgs(a, b Value) int {
	order, _ := Compare(a, b)
	return order
}

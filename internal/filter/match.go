package filter

import (
	"iter"
	"slices"
	"strings"
	"unicode"

	enumspb "go.temporal.io/api/enums/v1"
)

// Record is what a query is asked about.
type Record interface {
	// Value is the record's value of the attribute with this canonical name; null if unset or unknown. A value of
	// another type than the attribute has now counts as null, save that Int and Double mix.
	Value(attribute string) Value
}

// truth is SQL's: AND is the minimum, OR the maximum, NOT the opposite.
type truth int8

const (
	no      truth = -1
	unknown truth = 0
	yes     truth = 1
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// expr is a checked expression.
type expr interface {
	eval(Record) truth
	pinner
	formatter
}

type andExpr struct{ terms []expr }

func (e *andExpr) eval(rec Record) truth {
	result := yes
	for _, t := range e.terms {
		if result = min(result, t.eval(rec)); result == no {
			return no
		}
	}
	return result
}

type orExpr struct{ terms []expr }

func (e *orExpr) eval(rec Record) truth {
	result := no
	for _, t := range e.terms {
		if result = max(result, t.eval(rec)); result == yes {
			return yes
		}
	}
	return result
}

type notExpr struct{ inner expr }

func (e *notExpr) eval(rec Record) truth { return -e.inner.eval(rec) }

// condition compares one attribute with literals.
type condition struct {
	name
	op      operator
	negated bool
	args    []Value  // one, two for BETWEEN, none for IS NULL; sorted and distinct for IN
	words   []string // of the literal, for Text
}

func (c *condition) eval(rec Record) truth {
	v := rec.Value(c.Name)
	null := !suits(v.typ, c.Type)
	if null && c.op != opIsNull {
		return unknown
	}
	result := truthOf(c.holds(v, null))
	if c.negated {
		return -result
	}
	return result
}

// suits reports whether a value of type have can be compared as type want; null suits nothing.
func suits(have, want enumspb.IndexedValueType) bool {
	return have == want || numeric(have) && numeric(want)
}

func numeric(typ enumspb.IndexedValueType) bool {
	return typ == enumspb.INDEXED_VALUE_TYPE_INT || typ == enumspb.INDEXED_VALUE_TYPE_DOUBLE
}

// holds ignores negated.
func (c *condition) holds(v Value, null bool) bool {
	switch c.op {
	case opIsNull:
		return null
	case opEqual:
		return c.equals(v)
	case opIn:
		return c.contains(v)
	case opBetween:
		return compareArgs(v, c.args[0]) >= 0 && compareArgs(v, c.args[1]) <= 0
	case opStartsWith:
		return strings.HasPrefix(v.str, c.args[0].str)
	}
	order := compareArgs(v, c.args[0])
	switch c.op {
	case opLess:
		return order < 0
	case opLessEqual:
		return order <= 0
	case opGreater:
		return order > 0
	}
	return order >= 0
}

func (c *condition) equals(v Value) bool {
	switch c.Type {
	case enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST:
		return slices.Contains(v.list, c.args[0].str)
	case enumspb.INDEXED_VALUE_TYPE_TEXT:
		return anyWord(v.str, c.words)
	}
	return compareArgs(v, c.args[0]) == 0
}

func (c *condition) contains(v Value) bool {
	if c.Type != enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST {
		_, found := slices.BinarySearchFunc(c.args, v, compareArgs)
		return found
	}
	return slices.ContainsFunc(v.list, func(item string) bool {
		_, found := slices.BinarySearchFunc(c.args, item, func(arg Value, s string) int { return strings.Compare(arg.str, s) })
		return found
	})
}

// words cuts a Text into runs of letters, digits and the marks that combine with them.
func words(s string) iter.Seq[string] {
	return strings.FieldsFuncSeq(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r)
	})
}

// anyWord reports whether any of wanted is a word of text, in any case.
func anyWord(text string, wanted []string) bool {
	for word := range words(text) {
		if slices.ContainsFunc(wanted, func(w string) bool { return strings.EqualFold(word, w) }) {
			return true
		}
	}
	return false
}

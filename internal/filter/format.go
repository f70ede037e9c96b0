package filter

import (
	"strconv"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
)

// Quote is s as a string literal of the language, whatever bytes it holds.
func Quote(s string) string {
	return "'" + strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(s) + "'"
}

// quoteName leaves a plain name bare.
func quoteName(s string) string {
	plain := s != "" && !reservedWord(s)
	for i, r := range s {
		plain = plain && isWordRune(r, i == 0)
	}
	if plain {
		return s
	}
	return "`" + strings.ReplaceAll(s, "`", "``") + "`"
}

type formatter interface {
	format(*strings.Builder)
}

func (e *andExpr) format(b *strings.Builder) {
	for i, t := range e.terms {
		if i > 0 {
			b.WriteString(" AND ")
		}
		_, or := t.(*orExpr)
		formatGroup(b, t, or)
	}
}

func (e *orExpr) format(b *strings.Builder) {
	for i, t := range e.terms {
		if i > 0 {
			b.WriteString(" OR ")
		}
		t.format(b)
	}
}

func (e *notExpr) format(b *strings.Builder) {
	b.WriteString("NOT ")
	_, and := e.inner.(*andExpr)
	_, or := e.inner.(*orExpr)
	formatGroup(b, e.inner, and || or)
}

func formatGroup(b *strings.Builder, e expr, parentheses bool) {
	if !parentheses {
		e.format(b)
		return
	}
	b.WriteByte('(')
	e.format(b)
	b.WriteByte(')')
}

func (c *condition) format(b *strings.Builder) {
	b.WriteString(quoteName(c.written))
	b.WriteByte(' ')
	b.WriteString(strings.ToUpper(c.op.spelling(c.negated)))
	switch c.op {
	case opIsNull:
	case opIn:
		b.WriteString(" (" + c.formatArgs(", ") + ")")
	default:
		b.WriteString(" " + c.formatArgs(" AND "))
	}
}

func (c *condition) formatArgs(separator string) string {
	literals := make([]string, len(c.args))
	for i, v := range c.args {
		literals[i] = c.formatLiteral(v)
	}
	return strings.Join(literals, separator)
}

func (c *condition) formatLiteral(v Value) string {
	switch v.typ {
	case enumspb.INDEXED_VALUE_TYPE_INT:
		return strconv.FormatInt(v.num, 10)
	case enumspb.INDEXED_VALUE_TYPE_DOUBLE:
		return formatDouble(v.float())
	case enumspb.INDEXED_VALUE_TYPE_BOOL:
		return strconv.FormatBool(v.num != 0)
	case enumspb.INDEXED_VALUE_TYPE_DATETIME:
		return Quote(timeOf(v.Datetime()).Format(time.RFC3339Nano))
	}
	return Quote(strings.TrimPrefix(v.str, c.Prefix))
}

// formatDouble always shows a point or an exponent, so that the literal stays a double.
func formatDouble(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

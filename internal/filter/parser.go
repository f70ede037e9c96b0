package filter

import (
	"strconv"
	"strings"
)

const (
	// MaxQueryLength is the longest query Parse reads, in bytes: room for an IN list of several thousand IDs.
	MaxQueryLength = 256 << 10
	// MaxQueryDepth bounds how deep parentheses and NOT may nest, and with it the stack a query can claim.
	MaxQueryDepth = 100
)

// The syntax tree knows words, not attributes. Exactly one field of a node is set.
type syntax struct {
	and, or []*syntax
	not     *syntax
	leaf    *predicate
}

// predicate is one comparison as written.
type predicate struct {
	left    operand
	op      operator
	negated bool // !=, NOT IN, NOT BETWEEN, NOT STARTS_WITH, IS NOT NULL
	right   []operand
	source  string // for errors
}

type operandKind uint8

const (
	operandName operandKind = iota
	operandString
	operandInt
	operandDouble
	operandBool
	operandNull
)

type operand struct {
	kind   operandKind
	text   string // name, string content, or source of the others
	source string // as written, for errors
	num    int64
	double float64
	truth  bool
}

// statement is a whole query as written.
type statement struct {
	where   *syntax // nil when absent
	groupBy []string
	orderBy []ordering
	limit   string // the clause that is present, if any
}

type ordering struct {
	name       string
	descending bool
}

// parser is a recursive descent over the grammar
//
//	statement = [or] [GROUP BY names] [ORDER BY orderings] [LIMIT ...]
//	or        = and {OR and}
//	and       = not {AND not}
//	not       = NOT not | "(" or ")" | predicate
type parser struct {
	lex   lexer
	tok   token // the one to be consumed next
	end   int   // where the last consumed token ended
	depth int
}

func parse(src string) (*statement, error) {
	if len(src) > MaxQueryLength {
		return nil, malformed("the query has %d bytes, more than %d", len(src), MaxQueryLength)
	}
	p := &parser{lex: lexer{src: src}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	return p.statement()
}

func (p *parser) advance() error {
	p.end = p.tok.end
	tok, err := p.lex.next()
	p.tok = tok
	return err
}

// acceptKeyword consumes the keyword if it comes next.
func (p *parser) acceptKeyword(word string) (bool, error) {
	if !p.tok.keyword(word) {
		return false, nil
	}
	return true, p.advance()
}

func (p *parser) acceptSymbol(s string) (bool, error) {
	if !p.tok.symbol(s) {
		return false, nil
	}
	return true, p.advance()
}

func (p *parser) expectKeyword(word string) error {
	return p.expected(p.acceptKeyword(word))
}

func (p *parser) expectSymbol(s string) error {
	return p.expected(p.acceptSymbol(s))
}

func (p *parser) expected(ok bool, err error) error {
	if err == nil && !ok {
		return p.syntaxError()
	}
	return err
}

func (p *parser) syntaxError() error {
	if p.tok.kind == tokenEnd {
		return malformed("syntax error at position %d: the query ends too early", p.tok.start+1)
	}
	return malformed("syntax error at position %d near '%s'", p.tok.start+1, clip(p.lex.src[p.tok.start:]))
}

func (p *parser) statement() (*statement, error) {
	s := &statement{}
	var err error
	if p.tok.kind != tokenEnd && !p.clauseAhead() {
		if s.where, err = p.or(); err != nil {
			return nil, err
		}
	}
	if s.groupBy, err = p.groupBy(); err != nil {
		return nil, err
	}
	if s.orderBy, err = p.orderBy(); err != nil {
		return nil, err
	}
	if s.limit, err = p.limit(); err != nil {
		return nil, err
	}
	if p.tok.kind != tokenEnd {
		return nil, p.syntaxError()
	}
	return s, nil
}

// clauseAhead reports whether the condition is over and a trailing clause begins.
func (p *parser) clauseAhead() bool {
	return p.tok.keyword("group") || p.tok.keyword("order") || p.tok.keyword("limit")
}

func (p *parser) groupBy() ([]string, error) {
	var names []string
	err := p.clause("group", func() error {
		name, err := p.name()
		names = append(names, name)
		return err
	})
	return names, err
}

func (p *parser) orderBy() ([]ordering, error) {
	var orderings []ordering
	err := p.clause("order", func() error {
		name, err := p.name()
		if err != nil {
			return err
		}
		descending, err := p.acceptKeyword("desc")
		if err == nil && !descending {
			_, err = p.acceptKeyword("asc")
		}
		orderings = append(orderings, ordering{name: name, descending: descending})
		return err
	})
	return orderings, err
}

// clause reads WORD BY item {, item}, or nothing.
func (p *parser) clause(word string, item func() error) error {
	if ok, err := p.acceptKeyword(word); !ok {
		return err
	}
	if err := p.expectKeyword("by"); err != nil {
		return err
	}
	return p.list(item)
}

// limit only finds out that there is such a clause, and skips it: it is refused whatever it says.
func (p *parser) limit() (string, error) {
	if !p.tok.keyword("limit") && !p.tok.keyword("offset") {
		return "", nil
	}
	clause := strings.ToLower(p.tok.text)
	for p.tok.kind == tokenNumber || p.tok.symbol(",") || p.tok.keyword("limit") || p.tok.keyword("offset") {
		if err := p.advance(); err != nil {
			return "", err
		}
	}
	return clause, nil
}

// list reads item {, item}.
func (p *parser) list(item func() error) error {
	for {
		if err := item(); err != nil {
			return err
		}
		if more, err := p.acceptSymbol(","); !more {
			return err
		}
	}
}

func (p *parser) or() (*syntax, error) {
	terms, err := p.chain("or", p.and)
	if err != nil || len(terms) == 1 {
		return first(terms), err
	}
	return &syntax{or: terms}, nil
}

func (p *parser) and() (*syntax, error) {
	terms, err := p.chain("and", p.not)
	if err != nil || len(terms) == 1 {
		return first(terms), err
	}
	return &syntax{and: terms}, nil
}

// chain reads term {WORD term}; a loop, so that length costs no stack.
func (p *parser) chain(word string, term func() (*syntax, error)) ([]*syntax, error) {
	var terms []*syntax
	for {
		t, err := term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
		if more, err := p.acceptKeyword(word); !more {
			return terms, err
		}
	}
}

func first(terms []*syntax) *syntax {
	if len(terms) == 0 {
		return nil
	}
	return terms[0]
}

func (p *parser) not() (*syntax, error) {
	if p.depth++; p.depth > MaxQueryDepth {
		return nil, malformed("expressions nest deeper than %d", MaxQueryDepth)
	}
	defer func() { p.depth-- }()

	if negated, err := p.acceptKeyword("not"); err != nil {
		return nil, err
	} else if negated {
		inner, err := p.not()
		return &syntax{not: inner}, err
	}
	if grouped, err := p.acceptSymbol("("); err != nil {
		return nil, err
	} else if grouped {
		inner, err := p.or()
		if err != nil {
			return nil, err
		}
		return inner, p.expectSymbol(")")
	}
	leaf, err := p.predicate()
	return &syntax{leaf: leaf}, err
}

func (p *parser) predicate() (*predicate, error) {
	start := p.tok.start
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	pred := &predicate{left: left}
	if err := p.comparison(pred); err != nil {
		return nil, err
	}
	pred.source = p.lex.src[start:p.end]
	return pred, nil
}

// comparison reads what follows the left operand.
func (p *parser) comparison(pred *predicate) error {
	if p.tok.kind == tokenSymbol {
		return p.symbolic(pred)
	}
	if is, err := p.acceptKeyword("is"); is || err != nil {
		if err != nil {
			return err
		}
		return p.nullTest(pred)
	}
	negated, err := p.acceptKeyword("not")
	if err != nil {
		return err
	}
	pred.negated = negated
	word := strings.ToLower(p.tok.text)
	switch {
	case p.tok.keyword("in"), p.tok.keyword("between"), p.tok.keyword("starts_with"):
		if err := p.advance(); err != nil {
			return err
		}
	case p.tok.keyword("like"), p.tok.keyword("regexp"), p.tok.keyword("rlike"):
		return unsupported("'%s' operator", word)
	case !negated && p.conditionOver():
		return p.noCondition(pred)
	default:
		return p.syntaxError()
	}
	switch word {
	case "in":
		pred.op = opIn
		return p.inList(pred)
	case "between":
		pred.op = opBetween
		return p.between(pred)
	}
	pred.op = opStartsWith
	return p.addRight(pred)
}

func (p *parser) conditionOver() bool {
	return p.tok.kind == tokenEnd || p.tok.keyword("and") || p.tok.keyword("or") || p.clauseAhead()
}

func (p *parser) noCondition(pred *predicate) error {
	return invalidExpression("'%s' is not a condition", clip(pred.left.source))
}

func (p *parser) symbolic(pred *predicate) error {
	switch p.tok.text {
	case "=":
		pred.op = opEqual
	case "!=", "<>":
		pred.op, pred.negated = opEqual, true
	case "<":
		pred.op = opLess
	case "<=":
		pred.op = opLessEqual
	case ">":
		pred.op = opGreater
	case ">=":
		pred.op = opGreaterEqual
	case ")":
		return p.noCondition(pred)
	case "(":
		if pred.left.kind == operandName {
			return unsupported("function '%s'", clip(pred.left.text))
		}
		return p.syntaxError()
	default:
		return p.syntaxError()
	}
	if err := p.advance(); err != nil {
		return err
	}
	return p.addRight(pred)
}

func (p *parser) nullTest(pred *predicate) error {
	negated, err := p.acceptKeyword("not")
	if err != nil {
		return err
	}
	pred.op, pred.negated = opIsNull, negated
	if p.tok.keyword("true") || p.tok.keyword("false") {
		return unsupported("'is %s' operator", strings.ToLower(p.tok.text))
	}
	return p.expectKeyword("null")
}

func (p *parser) inList(pred *predicate) error {
	if err := p.expectSymbol("("); err != nil {
		return err
	}
	if err := p.list(func() error { return p.addRight(pred) }); err != nil {
		return err
	}
	return p.expectSymbol(")")
}

func (p *parser) between(pred *predicate) error {
	if err := p.addRight(pred); err != nil {
		return err
	}
	if err := p.expectKeyword("and"); err != nil {
		return err
	}
	return p.addRight(pred)
}

func (p *parser) addRight(pred *predicate) error {
	o, err := p.operand()
	pred.right = append(pred.right, o)
	return err
}

// name reads an attribute name.
func (p *parser) name() (string, error) {
	o, err := p.operand()
	if err == nil && o.kind != operandName {
		err = invalidExpression("%s is not a search attribute name", clip(o.source))
	}
	return o.text, err
}

// operand reads a name or a literal.
func (p *parser) operand() (operand, error) {
	o := operand{text: p.tok.text, source: p.lex.src[p.tok.start:p.tok.end]}
	switch {
	case p.tok.kind == tokenName:
		o.kind = operandName
	case p.tok.kind == tokenString:
		o.kind = operandString
	case p.tok.kind == tokenNumber:
		if err := o.number(); err != nil {
			return o, err
		}
	case p.tok.keyword("true"), p.tok.keyword("false"):
		o.kind, o.truth = operandBool, p.tok.keyword("true")
	case p.tok.keyword("null"):
		o.kind = operandNull
	case p.tok.kind == tokenWord && !reservedWord(p.tok.text):
		o.kind = operandName
	default:
		return o, p.syntaxError()
	}
	return o, p.advance()
}

// number reads o.text; whole numbers beyond 64 bits become doubles.
func (o *operand) number() error {
	var err error
	if o.num, err = strconv.ParseInt(o.text, 10, 64); err == nil {
		o.kind = operandInt
		return nil
	}
	o.kind = operandDouble
	if o.double, err = strconv.ParseFloat(o.text, 64); err != nil {
		return malformed("'%s' is not a number", clip(o.text))
	}
	return nil
}

// reservedWord reports a word that is a name only in backticks.
func reservedWord(word string) bool {
	switch strings.ToLower(word) {
	case "and", "or", "not", "in", "between", "is", "null", "starts_with", "true", "false", "like", "group", "order", "limit":
		return true
	}
	return false
}

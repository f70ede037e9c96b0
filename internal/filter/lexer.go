package filter

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenWord             // keyword or name
	tokenName             // name in backticks, never a keyword
	tokenString           // text is the content, unescaped
	tokenNumber           // text as written, sign included
	tokenSymbol           // ( ) , and comparison operators
)

type token struct {
	kind       tokenKind
	text       string
	start, end int // byte offsets in the source
}

// keyword reports whether the token is the given keyword, written in any case.
func (t token) keyword(word string) bool {
	return t.kind == tokenWord && strings.EqualFold(t.text, word)
}

func (t token) symbol(s string) bool { return t.kind == tokenSymbol && t.text == s }

// lexer cuts the source into tokens, one at a time.
type lexer struct {
	src string
	pos int
}

func (l *lexer) next() (token, error) {
	for l.pos < len(l.src) && strings.IndexByte(" \t\r\n\f\v", l.src[l.pos]) >= 0 {
		l.pos++
	}
	t := token{start: l.pos, end: l.pos}
	if l.pos == len(l.src) {
		return t, nil
	}
	var err error
	switch c := l.src[l.pos]; {
	case c == '\'' || c == '"':
		t.kind = tokenString
		t.text, err = l.quoted(c, true)
	case c == '`':
		t.kind = tokenName
		t.text, err = l.quoted(c, false)
	case l.numberAhead():
		t.kind = tokenNumber
		t.text, err = l.number()
	case l.wordRune(true) > 0:
		t.kind = tokenWord
		t.text = l.word()
	default:
		t.kind = tokenSymbol
		t.text, err = l.operator()
	}
	t.end = l.pos
	return t, err
}

// quoted reads up to the closing quote, which doubled stands for itself. Strings also know backslash escapes.
func (l *lexer) quoted(quote byte, escapes bool) (string, error) {
	start := l.pos
	var text strings.Builder
	for l.pos++; l.pos < len(l.src); l.pos++ {
		c := l.src[l.pos]
		switch {
		case c == quote:
			l.pos++
			if l.pos == len(l.src) || l.src[l.pos] != quote {
				return text.String(), nil
			}
		case c == '\\' && escapes && l.pos+1 < len(l.src):
			l.pos++
			c = unescape(l.src[l.pos])
		}
		text.WriteByte(c)
	}
	return "", malformed("unterminated %c at position %d", quote, start+1)
}

// unescape follows MySQL, whose grammar existing queries were written for: an unknown escape is the character itself.
func unescape(c byte) byte {
	switch c {
	case '0':
		return 0
	case 'b':
		return '\b'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'Z':
		return 26
	}
	return c
}

// numberAhead looks for a digit behind an optional sign and dot.
func (l *lexer) numberAhead() bool {
	rest := l.src[l.pos:]
	if rest[0] == '+' || rest[0] == '-' {
		rest = rest[1:]
	}
	rest = strings.TrimPrefix(rest, ".")
	return len(rest) > 0 && isDigit(rest[0])
}

func (l *lexer) number() (string, error) {
	start := l.pos
	l.skip("+-")
	l.digits()
	if l.skip(".") {
		l.digits()
	}
	if l.skip("eE") {
		l.skip("+-")
		l.digits()
	}
	if l.wordRune(false) > 0 {
		return "", malformed("syntax error at position %d near '%s'", start+1, clip(l.src[start:]))
	}
	return l.src[start:l.pos], nil
}

// skip passes one byte if it is among set.
func (l *lexer) skip(set string) bool {
	if l.pos == len(l.src) || strings.IndexByte(set, l.src[l.pos]) < 0 {
		return false
	}
	l.pos++
	return true
}

func (l *lexer) digits() {
	for l.pos < len(l.src) && isDigit(l.src[l.pos]) {
		l.pos++
	}
}

func (l *lexer) word() string {
	start := l.pos
	for n := l.wordRune(true); n > 0; n = l.wordRune(false) {
		l.pos += n
	}
	return l.src[start:l.pos]
}

// wordRune is the length of the next rune if it may stand in an unquoted word, else 0.
func (l *lexer) wordRune(first bool) int {
	r, n := utf8.DecodeRuneInString(l.src[l.pos:])
	if isWordRune(r, first) {
		return n
	}
	return 0
}

func isWordRune(r rune, first bool) bool {
	switch {
	case r == utf8.RuneError:
		return false
	case r == '_' || unicode.IsLetter(r):
		return true
	}
	return !first && (r == '$' || unicode.IsDigit(r))
}

func (l *lexer) operator() (string, error) {
	start := l.pos
	for _, op := range []string{"<=", ">=", "!=", "<>", "=", "<", ">", "(", ")", ","} {
		if strings.HasPrefix(l.src[start:], op) {
			l.pos += len(op)
			return op, nil
		}
	}
	return "", malformed("syntax error at position %d near '%s'", start+1, clip(l.src[start:]))
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// clip shortens what an error quotes to a few words, never splitting a rune.
func clip(s string) string {
	const limit = 40
	for i := range s {
		if i >= limit {
			return s[:i] + "…"
		}
	}
	return s
}

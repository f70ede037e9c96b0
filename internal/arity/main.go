// Command arity writes the families of functions that differ in nothing but the number of arguments: Go can infer the types
// of a method with one argument and of one with two, but not by one function.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"strings"
	"text/template"
)

type arity struct {
	N         int
	Count     string // "2 arguments"
	Types     string // "A, B "
	Params    string // "A, B"
	Arguments string // "a A, b B"
	Values    string // "a, b"
	Suffix1   string // of verbs whose usual arity is 1
	Suffix0   string
}

func arities() []arity {
	var all []arity
	for n := range 4 {
		upper, lower := strings.Split("A B C", " ")[:n], strings.Split("x y z", " ")[:n]
		a := arity{N: n, Count: []string{"no arguments", "one argument", "two arguments", "three arguments"}[n], Types: strings.Join(upper, ", "), Values: strings.Join(lower, ", ")}
		for i := range n {
			a.Params += ", " + upper[i]
			a.Arguments += lower[i] + " " + upper[i] + ", "
		}
		if n > 0 {
			a.Types, a.Values = ", "+a.Types, ", "+a.Values
		}
		a.Suffix1, a.Suffix0 = fmt.Sprint(n), fmt.Sprint(n)
		if n == 1 {
			a.Suffix1 = ""
		}
		if n == 0 {
			a.Suffix0 = ""
		}
		all = append(all, a)
	}
	return all
}

// Source is what a file of a package has to be.
func Source(pkg string) ([]byte, error) {
	t, err := template.New(pkg).Parse(templates[pkg])
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, arities()); err != nil {
		return nil, err
	}
	out, err := format.Source(b.Bytes())
	if err != nil {
		return b.Bytes(), err
	}
	return out, nil
}

func main() {
	for _, pkg := range []string{"workflow", "client"} {
		src, err := Source(pkg)
		if err == nil {
			err = os.WriteFile(pkg+"/arity.go", src, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err, string(src))
			os.Exit(1)
		}
	}
}

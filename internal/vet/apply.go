package vet

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/ast/astutil"
)

// Apply makes the fixes of findings, and gives the new text of each file that changes and the findings that were not mended:
// those without a fix, and those whose fix overlaps another one. It writes nothing.
func Apply(found []Finding) (files map[string][]byte, left []Finding, err error) {
	edits := map[string][]Edit{}
	for _, f := range found {
		if f.Fix == nil || slices.ContainsFunc(f.Fix.Edits, func(e Edit) bool { return clashes(edits[e.File], e) }) {
			left = append(left, f)
			continue
		}
		for _, e := range f.Fix.Edits {
			if !slices.Contains(edits[e.File], e) { // two fixes may need the same import
				edits[e.File] = append(edits[e.File], e)
			}
		}
	}
	files = map[string][]byte{}
	for name, list := range edits {
		old, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		if files[name], err = rewrite(name, old, list); err != nil {
			return nil, nil, err
		}
	}
	return files, left, nil
}

// clashes says whether e touches what another edit does, and is not the same.
func clashes(edits []Edit, e Edit) bool {
	return slices.ContainsFunc(edits, func(o Edit) bool {
		return o != e && (e.Start < o.End && o.Start < e.End || e.Start == o.Start)
	})
}

// rewrite makes the edits, formats, and drops imports of which the edits took the last use.
func rewrite(name string, old []byte, edits []Edit) ([]byte, error) {
	slices.SortFunc(edits, func(a, b Edit) int { return a.Start - b.Start })
	var b bytes.Buffer
	at := 0
	for _, e := range edits {
		b.Write(old[at:e.Start])
		b.WriteString(e.Text)
		at = e.End
	}
	b.Write(old[at:])
	fset := token.NewFileSet()
	before, err := parser.ParseFile(fset, name, old, 0)
	if err != nil {
		return nil, err
	}
	after, err := parser.ParseFile(fset, name, b.Bytes(), parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("the mended file does not parse: %w", err)
	}
	for _, s := range before.Imports {
		of, _ := strconv.Unquote(s.Path.Value)
		if name := nameOf(s, of); uses(before, name) && !uses(after, name) {
			astutil.DeleteNamedImport(fset, after, importName(s), of)
		}
	}
	ast.SortImports(fset, after)
	var out bytes.Buffer
	if err := format.Node(&out, fset, after); err != nil {
		return nil, err
	}
	return format.Source(out.Bytes())
}

func importName(s *ast.ImportSpec) string {
	if s.Name == nil {
		return ""
	}
	return s.Name.Name
}

// nameOf is what an import is called in the file, as far as its path tells. The packages of which fixes take uses are called by
// their paths.
func nameOf(s *ast.ImportSpec, of string) string {
	if s.Name != nil {
		return s.Name.Name
	}
	if last := path.Base(of); strings.TrimLeft(last, "v0123456789") != "" {
		return last
	}
	return path.Base(path.Dir(of))
}

// uses says whether something is selected from what has that name and is not declared in the file.
func uses(f *ast.File, name string) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			id, ok := s.X.(*ast.Ident)
			found = found || ok && id.Name == name && id.Obj == nil
		}
		return !found
	})
	return found
}

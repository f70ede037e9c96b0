package vet

import (
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// TestAllVerbsOfPackageWorkflowAreKnown: each function and method of package workflow that takes a Context, or fails, which is
// how waiting ends, has its line in verbs, and no line is there without its function.
func TestAllVerbsOfPackageWorkflowAreKnown(t *testing.T) {
	loaded, err := packages.Load(&packages.Config{Mode: packages.NeedTypes | packages.NeedName | packages.NeedImports}, workflowPath)
	if err != nil {
		t.Fatal(err)
	}
	scope := loaded[0].Types.Scope()
	missing := maps.Clone(verbs)
	verb := func(f *types.Func) {
		takes := signatureKind(f.Signature()) == write
		waits := receiver(f) != "" && strings.HasSuffix(f.Signature().Results().String(), "error)")
		name := stem(f)
		if _, known := verbs[name]; f.Exported() && (takes || waits) && !known {
			t.Errorf("verbs has no line for %s", name)
		}
		delete(missing, name)
	}
	for _, name := range scope.Names() {
		switch o := scope.Lookup(name).(type) {
		case *types.Func:
			verb(o)
		case *types.TypeName:
			if n, ok := o.Type().(*types.Named); ok && !o.IsAlias() {
				for m := range n.Methods() {
					verb(m)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("package workflow has no %s", name)
	}
	for typ, methods := range changingMethods {
		for _, m := range methods {
			if name, ok := cutPath(typ); ok {
				o, _, _ := types.LookupFieldOrMethod(types.NewPointer(scope.Lookup(name).Type()), false, nil, m)
				if o == nil {
					t.Errorf("there is no %s.%s", typ, m)
				}
			}
		}
	}
}

func cutPath(typ string) (string, bool) {
	const prefix = workflowPath + "."
	if len(typ) > len(prefix) && typ[:len(prefix)] == prefix {
		return typ[len(prefix):], true
	}
	return "", false
}

func TestDistanceCountsLetters(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"SetLangage", "SetLanguage", 1}, {"abc", "acb", 2}, {"Set", "Get", 1}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("from %q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

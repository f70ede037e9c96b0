package vet

import (
	"fmt"

	"golang.org/x/tools/go/analysis"
)

func determinism(pass *analysis.Pass) (any, error) {
	p := pass.ResultOf[survey].(*pkg)
	for _, w := range p.wrong {
		p.report(pass, w)
	}
	reached := map[*function]string{} // functions that workflow code calls, and from where
	var queue []*function
	visit := func(f *function, calledBy string) {
		if _, ok := reached[f]; !ok {
			reached[f] = calledBy
			queue = append(queue, f)
		}
	}
	for _, f := range p.funcs {
		if f.kind.workflow() {
			visit(f, "")
		}
	}
	for len(queue) > 0 {
		f := queue[0]
		queue = queue[1:]
		f.own(func(g *function) {
			p.judgeCode(pass, g, reached[f])
			for _, c := range g.calls {
				if signatureKind(c.to.Signature()) != plain {
					continue
				}
				if c.to.Pkg() != pass.Pkg {
					p.judgeCall(pass, c, reached[f])
				} else if callee := p.byObject[c.to]; callee != nil {
					by := reached[f]
					if by == "" {
						by = p.name(f)
					}
					visit(callee, by)
				}
			}
		})
	}
	return nil, nil
}

// name is how messages call f.
func (p *pkg) name(f *function) string {
	if d := f.decl(); d.obj != nil {
		return title(d.obj, p.pass.Pkg)
	}
	return "a function literal"
}

// judgeCode reports what stands in f.
func (p *pkg) judgeCode(pass *analysis.Pass, f *function, calledBy string) {
	for _, x := range p.impure(f) {
		if calledBy != "" {
			x.why += fmt.Sprintf(" (%s is called by %s)", p.name(f), calledBy)
		}
		p.report(pass, x)
	}
}

// judgeCall reports a call of another package's function that does what workflow code must not do.
func (p *pkg) judgeCall(pass *analysis.Pass, c call, calledBy string) {
	e := p.effectOf(c.to)
	if e.Impure == "" {
		return
	}
	x := problem{at: c.at, rule: e.Rule, what: title(c.to, pass.Pkg), why: "comes to " + e.Impure}
	if calledBy != "" {
		x.why += fmt.Sprintf(" (called by %s)", calledBy)
	}
	p.report(pass, x)
}

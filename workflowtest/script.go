package workflowtest

import (
	"flag"
	"strings"
)

var scriptFlag = flag.String("workflowtest.script", "", "play only this order in each workflowtest.Explore of the tests that run: the lines of a script")

// parse gives the lines of a script that say something.
func parse(script string) (lines []string) {
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// lines is what leads to the order.
func (p *played) lines() string { return strings.Join(p.script, "\n") }

// story is the script, and as a comment how it went on.
func (p *played) story() string {
	lines := p.lines()
	if len(p.rest) > 0 {
		lines = strings.TrimSpace(lines + "\n# then: " + strings.Join(p.rest, "; "))
	}
	return lines
}

// command plays a script from a shell. One without lines is a comment, as an empty flag is none.
func command(test, script string) string {
	if script == "" {
		script = "#"
	}
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`)
	return "go test -run '^" + strings.ReplaceAll(test, "/", "$/^") + "$' -workflowtest.script=$'" + quote.Replace(script) + "'"
}

package oracle

import "strings"

// hunk is a place where two accounts differ.
type hunk struct {
	after              string // the line before it
	reference, perdure []string
}

// diff compares two accounts line by line. They have tens of lines, so the plain table of common subsequences will do.
func diff(a, b []string) []hunk {
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var hunks []hunk
	open := false
	i, j := 0, 0
	place := func() *hunk {
		if !open {
			hunks, open = append(hunks, hunk{after: before(a, i)}), true
		}
		return &hunks[len(hunks)-1]
	}
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j, open = i+1, j+1, false
		case i < len(a) && (j == len(b) || common[i+1][j] >= common[i][j+1]):
			h := place()
			h.reference, i = append(h.reference, a[i]), i+1
		default:
			h := place()
			h.perdure, j = append(h.perdure, b[j]), j+1
		}
	}
	return hunks
}

func before(lines []string, i int) string {
	if i == 0 {
		return "the beginning"
	}
	return cut(lines[i-1])
}

func show(hunks []hunk) string {
	var b strings.Builder
	for _, h := range hunks {
		b.WriteString(h.String())
	}
	return b.String()
}

// String shows both sides, in pairs if that may help.
func (h hunk) String() string {
	var b strings.Builder
	b.WriteString("  after: " + h.after + "\n")
	theirs, ours := "  - reference: ", "  + perdure:   "
	if len(h.reference) == len(h.perdure) {
		for i, l := range h.reference {
			b.WriteString(theirs + l + "\n" + ours + h.perdure[i] + "\n")
		}
		return b.String()
	}
	for _, l := range h.reference {
		b.WriteString(theirs + l + "\n")
	}
	for _, l := range h.perdure {
		b.WriteString(ours + l + "\n")
	}
	return b.String()
}

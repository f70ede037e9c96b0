package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// table is what all measurements come to: a row for each scenario, a column for each target, medians over the rounds.
type table struct {
	targets []string // the first is what the others are compared with
	rows    []string
	cells   map[[2]string][]*measurement // by row and target, in the order of rounds
}

func newTable(targets []string) *table {
	return &table{targets: targets, cells: make(map[[2]string][]*measurement)}
}

func (t *table) add(m *measurement) {
	if !slices.Contains(t.rows, m.Row) {
		t.rows = append(t.rows, m.Row)
	}
	key := [2]string{m.Row, m.Target}
	t.cells[key] = append(t.cells[key], m)
}

func (t *table) write(w io.Writer) {
	rounds := 0
	for _, ms := range t.cells {
		rounds = max(rounds, len(ms))
	}
	fmt.Fprintf(w, "Operations per second, median [min..max] of %d rounds · median ratio to %s within a round · p50 / p99 in ms · CPU per operation in ms of the server + of the load\n\n",
		rounds, t.targets[0])
	t.lines(w, t.rows, t.cell)
	if extras := t.extras(); len(extras) > 0 {
		fmt.Fprintln(w)
		t.lines(w, extras, t.extraCell)
	}
}

func (t *table) lines(w io.Writer, rows []string, cell func(row, target string) string) {
	fmt.Fprintf(w, "| scenario@callers | %s |\n|---|%s\n", strings.Join(t.targets, " | "), strings.Repeat("---|", len(t.targets)))
	for _, row := range rows {
		fmt.Fprintf(w, "| %s |", row)
		for _, target := range t.targets {
			fmt.Fprintf(w, " %s |", cell(row, target))
		}
		fmt.Fprintln(w)
	}
}

func (t *table) cell(row, target string) string {
	all := t.cells[[2]string{row, target}]
	good := filter(all, func(m *measurement) bool { return m.OK })
	if len(good) == 0 {
		if len(filter(all, func(m *measurement) bool { return !m.Unserved })) > 0 {
			return "FAILED"
		}
		return "–"
	}
	rate := overRounds(good, func(m *measurement) float64 { return m.Rate })
	text := number(rate.median)
	if len(good) > 1 {
		text += fmt.Sprintf(" [%s..%s]", number(rate.least), number(rate.most))
	}
	if ratios := t.ratios(row, good); target != t.targets[0] && len(ratios) > 0 {
		text += fmt.Sprintf(" · ×%.2f", spreadOf(ratios).median)
	}
	middle := func(figure func(*measurement) float64) string { return number(overRounds(good, figure).median) }
	text += fmt.Sprintf(" · %s / %s", middle(func(m *measurement) float64 { return m.P50 }), middle(func(m *measurement) float64 { return m.P99 }))
	text += fmt.Sprintf(" · %s + %s", cpu(overRounds(good, func(m *measurement) float64 { return m.ServerCPU }).median), middle(func(m *measurement) float64 { return m.LoadCPU }))
	if failed := len(all) - len(good); failed > 0 {
		text += fmt.Sprintf(" (%d FAILED)", failed)
	}
	return text
}

// ratios compares within rounds: the machine changes from round to round, and both sides with it.
func (t *table) ratios(row string, good []*measurement) []float64 {
	var ratios []float64
	for _, first := range t.cells[[2]string{row, t.targets[0]}] {
		for _, m := range good {
			if m.Round == first.Round && first.OK && first.Rate > 0 {
				ratios = append(ratios, m.Rate/first.Rate)
			}
		}
	}
	return ratios
}

// extras are the rows of figures that only some scenarios have.
func (t *table) extras() []string {
	var rows []string
	for _, row := range t.rows {
		names := make(map[string]bool)
		for _, target := range t.targets {
			for _, m := range t.cells[[2]string{row, target}] {
				for name := range m.Extra {
					names[row+" "+name] = true
				}
			}
		}
		rows = append(rows, slices.Sorted(maps.Keys(names))...)
	}
	return rows
}

func (t *table) extraCell(line, target string) string {
	row, name, _ := strings.Cut(line, " ")
	var values []float64
	for _, m := range t.cells[[2]string{row, target}] {
		if v, there := m.Extra[name]; there && m.OK {
			values = append(values, v)
		}
	}
	switch s := spreadOf(values); len(values) {
	case 0:
		return "–"
	case 1:
		return number(s.median)
	default:
		return fmt.Sprintf("%s [%s..%s]", number(s.median), number(s.least), number(s.most))
	}
}

func overRounds(ms []*measurement, figure func(*measurement) float64) spread {
	values := make([]float64, len(ms))
	for i, m := range ms {
		values[i] = figure(m)
	}
	return spreadOf(values)
}

// cpu of a server that is not known is not shown: it is in this process, or nobody gave its pid.
func cpu(ms float64) string {
	if ms == 0 {
		return "–"
	}
	return number(ms)
}

// number has three digits that say something, and commas.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 1:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func filter[T any](all []T, keep func(T) bool) []T {
	var kept []T
	for _, v := range all {
		if keep(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

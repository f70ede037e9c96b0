package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkTime bounds the search for an order of one workflow ID's operations.
const checkTime = 10 * time.Second

func check(ops []*operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model, history(ops), checkTime)
}

// culprit finds the first answer that no order explains: up to it, and without it, there is one. It returns nil if the search
// takes too long to tell.
func culprit(ops []*operation) *operation {
	known := slices.DeleteFunc(slices.Clone(ops), func(o *operation) bool { return o.Answer.Result == unknown })
	slices.SortFunc(known, func(a, b *operation) int { return int(a.last().To - b.last().To) })
	low, high := 0, len(known)-1
	for low < high {
		middle := (low + high) / 2
		switch check(cut(ops, known[middle].last().To)) {
		case porcupine.Unknown:
			return nil
		case porcupine.Illegal:
			high = middle
		default:
			low = middle + 1
		}
	}
	return known[low]
}

// doubled tells of the items that some answer shows twice: how many there are of each kind of call, and of the first, all about it.
func doubled(ops []*operation) string {
	counts := map[kind]int{}
	first, item := never, 0
	for _, o := range ops {
		if o.Call.Item == 0 || o.Repeat {
			continue
		}
		for _, other := range ops {
			if rest, ok := without(list(other.Answer.Items), o.Call.Item); ok && rest.has(o.Call.Item) {
				counts[o.Call.Kind]++
				if at := other.last().To; at < first {
					first, item = at, o.Call.Item
				}
				break
			}
		}
	}
	if len(counts) == 0 {
		return ""
	}
	out := fmt.Sprintf("items that are there twice, by call: %v; the first is seen at %.4f and was sent so:", counts, first.Seconds())
	for _, o := range ops {
		if o.Call.Item == item {
			out += "\n    " + o.String()
		}
	}
	return out
}

// without takes the first of these items out of a list.
func without(l list, item int) (list, bool) {
	items := l.items()
	i := slices.Index(items, item)
	if i < 0 {
		return l, false
	}
	return listOf(slices.Delete(items, i, i+1)), true
}

// explain writes all that helps to understand a violation into dir, and returns the gist. The notes can be judged again with
// -notes.
func explain(dir, workflow string, ops []*operation) (string, error) {
	text := filepath.Join(dir, workflow+".txt")
	f, err := os.Create(text)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for _, o := range ops {
		fmt.Fprintln(f, o)
	}
	if err := save(filepath.Join(dir, workflow+".json"), ops); err != nil {
		return "", err
	}
	picture := filepath.Join(dir, workflow+".html")
	_, info := porcupine.CheckOperationsVerbose(model, history(ops), checkTime)
	if err := porcupine.VisualizePath(model, info, picture); err != nil {
		return "", err
	}
	gist := fmt.Sprintf("the operations on %s have no order that explains all answers; see %s and %s", workflow, text, picture)
	if o := culprit(ops); o != nil {
		gist += "\n  the first answer that can not be explained:\n  " + o.String()
	}
	if d := doubled(ops); d != "" {
		gist += "\n  " + d
	}
	return gist, f.Close()
}

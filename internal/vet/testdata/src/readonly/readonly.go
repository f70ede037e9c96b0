// Package readonly has queries and validators that do more than read.
package readonly

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/perdure/perdure/internal/vet/testdata/src/readonly/base"
	"github.com/perdure/perdure/workflow"
)

type Item struct {
	Name  string
	Count int
}

type Cart struct {
	base.Counters
	items  []Item
	byName map[string]*Item
	count  int
	names  []string
	text   strings.Builder
	queue  workflow.Channel[int]
	last   *Item
	ctx    workflow.Context // want `^stored-context: field ctx keeps a workflow.Context`
}

var current workflow.Context // want `^stored-context: the package-level variable current keeps`

// Init may write: it is part of the start.
func (c *Cart) Init(workflow.ReadContext) error {
	c.count = 1
	c.bump()
	return nil
}

func (c *Cart) Run(ctx workflow.Context) error {
	c.ctx = ctx
	c.count++
	workflow.SetQueryHandler(ctx, "hits", func(workflow.ReadContext, string, workflow.Args) (any, error) {
		c.count++             // want `^read-only: c.count is changed by a query or validator`
		delete(c.byName, "x") // want `^read-only: c.byName is changed`
		mine := 0
		mine++
		return mine, nil
	})
	workflow.SetSignalHandler(ctx, "hit", func(workflow.Context, string, workflow.Args) error {
		c.count++
		return nil
	})
	return nil
}

func (c *Cart) bump()            { c.count++ }
func (c *Cart) bumpTwice()       { c.bump() }
func (c *Cart) get() *Item       { return &c.items[0] }
func (c *Cart) copied() []string { return slices.Clone(c.names) }
func swap(a, b *Item, n int) {
	if n > 0 {
		a.Count++
		swap(b, a, n-1)
	}
}
func drop(items map[string]*Item) { delete(items, "x") }
func (i *Item) more()             { i.Count++ }
func (i Item) most() int          { i.Count = 3; return i.Count }
func (c *Cart) sleep()            { _ = workflow.Sleep(c.ctx, time.Second) }

// Bad is a query.
func (c *Cart) Bad(q workflow.ReadContext) (int, error) {
	c.count = 3                    // want `^read-only: query Bad assigns to c.count: a query leaves nothing in history, so the change is gone on replay$`
	c.count++                      // want `^read-only: query Bad changes c.count`
	c.items[0].Count = 3           // want `^read-only: query Bad assigns to c.items\[0\].Count`
	c.items[0] = Item{}            // want `^read-only: query Bad assigns to c.items\[0\]`
	c.names = append(c.names, "x") // want `^read-only: query Bad assigns to c.names`
	delete(c.byName, "x")          // want `^read-only: query Bad changes c.byName with delete`
	clear(c.byName)                // want `^read-only: query Bad changes c.byName with clear`
	copy(c.names, []string{})      // want `^read-only: query Bad changes c.names with copy`
	slices.Sort(c.names)           // want `^read-only: query Bad changes c.names with slices.Sort`
	c.text.WriteString("x")        // want `^read-only: query Bad changes c.text with WriteString`
	c.queue.Close()                // want `^read-only: query Bad changes c.queue with Close`
	c.bump()                       // want `^read-only: query Bad calls \(\*Cart\).bump, which changes it`
	c.bumpTwice()                  // want `^read-only: query Bad calls \(\*Cart\).bumpTwice`
	c.items[1].more()              // want `^read-only: query Bad calls \(\*Item\).more`
	c.get().Count = 1              // want `^read-only: query Bad assigns to c.get\(\).Count`
	drop(c.byName)                 // want `^read-only: query Bad calls drop`
	c.Hit()                        // want `^read-only: query Bad calls \(\*base.Counters\).Hit`
	swap(&Item{}, &c.items[0], 3)  // want `^read-only: query Bad calls swap, which changes it`
	item := c.byName["x"]
	item.Count = 2 // want `^read-only: query Bad assigns to item.Count`
	first := &c.items[0]
	first.Count++ // want `^read-only: query Bad changes first.Count`
	items := c.items
	items[0] = Item{}            // want `^read-only: query Bad assigns to items\[0\]`
	for _, i := range c.byName { // want `^map-order`
		i.more() // want `^read-only: query Bad calls \(\*Item\).more`
	}
	rest := append(c.names[:1], c.names[2:]...) // want `^read-only: query Bad appends over the rest of c.names`
	func() { c.last = nil }()                   // want `^read-only: query Bad assigns to c.last`
	return len(rest), nil
}

// ValidateSet is a validator.
func (c *Cart) ValidateSet(_ workflow.ReadContext, n int) error {
	c.count = n // want `^read-only: validator ValidateSet assigns to c.count: a validator leaves nothing`
	return nil
}

func (c *Cart) Set(_ workflow.Context, n int) error { c.count = n; return nil }

// Command is a query that found a context.
func (c *Cart) Command(q workflow.ReadContext) (int, error) {
	_ = workflow.Sleep(c.ctx, time.Second)  // want `^read-only: workflow.Sleep issues a command or waits in code that may only read: \(\*Cart\).Command has a ReadContext`
	workflow.NewTimer(current, time.Second) // want `^read-only: workflow.NewTimer`
	c.sleep()                               // want `^read-only: \(\*Cart\).sleep comes to workflow.Sleep \(readonly.go:\d+\), which issues a command or waits, in code that may only read`
	own := q.(workflow.Context)             // want `^read-only: a workflow.Context out of a ReadContext`
	_ = own
	return 0, nil
}

// Good only reads, and changes what is its own.
func (c *Cart) Good(q workflow.ReadContext) ([]string, error) {
	n := c.count
	n++
	names := slices.Clone(c.names)
	slices.Sort(names)
	names[0] = "x"
	c.copied()[0] = "y"
	all := append([]string{"z"}, c.names...)
	all[0] = "y"
	item := c.items[0]
	item.Count = 3
	item.more()
	item.most()
	c.items[0].most()
	sorted := slices.Sorted(maps.Keys(c.byName))
	sorted[0] = "x"
	own := map[string]int{}
	for _, i := range c.items {
		i.Count++
		own[i.Name] = i.Count
	}
	_ = workflow.Now(q)
	_ = c.Hits()
	return all, nil
}

// reset looks like a query only to those who call it.
func (c *Cart) reset(workflow.ReadContext) error { c.count = 0; return nil }

// Reset is not a message.
func (c *Cart) Reset(workflow.ReadContext) (int, error) { c.count = 0; return 0, nil }

var _ = workflow.Define[*Cart](workflow.Exclude((*Cart).Reset))

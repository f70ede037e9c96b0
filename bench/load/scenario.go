package main

// scenario is a way to use a server. Its operation is what one caller does and waits for.
type scenario struct {
	run   func(*trial) error
	sized bool // it is measured at each of -open
}

var scenarios = map[string]scenario{
	"start":           {run: starts},
	"empty":           {run: chains(0)},
	"activity":        {run: chains(1)},
	"chain10":         {run: chains(10)},
	"signal":          {run: signals},
	"update":          {run: updates},
	"query":           {run: queries},
	"signalwithstart": {run: signalsWithStart},
	"timer":           {run: timers},
	"history":         {run: history},
	"open":            {run: open, sized: true},
	"long":            {run: long},
}

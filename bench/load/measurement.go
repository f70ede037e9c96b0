package main

import "time"

// measurement is one line of -json: one scenario, once, against one target. Times are of the measured window only.
type measurement struct {
	Target   string `json:"target"`
	SDK      string `json:"sdk"`
	Row      string `json:"row"` // scenario, size if it has one, @ callers
	Round    int    `json:"round"`
	OK       bool   `json:"ok"`
	Unserved bool   `json:"unserved,omitempty"` // the target does not know the calls
	Error    string `json:"error,omitempty"`

	Operations int     `json:"operations"`
	Seconds    float64 `json:"seconds"`
	Rate       float64 `json:"per_s"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	Max        float64 `json:"max_ms"`
	ServerCPU  float64 `json:"server_cpu_ms,omitempty"` // per operation
	LoadCPU    float64 `json:"load_cpu_ms"`             // per operation: callers and workers, and the server if it is embedded

	// Extra are figures that only one scenario has, by a name that ends with the unit.
	Extra map[string]float64 `json:"extra,omitempty"`
}

func (m *measurement) extra(name string, value float64) {
	if m.Extra == nil {
		m.Extra = make(map[string]float64)
	}
	m.Extra[name] = value
}

// window is the time in which operations count, with the CPU that was used up to its beginning.
type window struct {
	opened       time.Time
	server, load time.Duration
	pids         []int
}

func openWindow(pids []int) (window, error) {
	server, err := cpuOf(pids)
	return window{server: server, load: ownCPU(), pids: pids, opened: time.Now()}, err
}

// reading is what a window has come to when it is read.
type reading struct{ took, server, load time.Duration }

func (w window) read() (reading, error) {
	r := reading{took: time.Since(w.opened), load: ownCPU() - w.load}
	server, err := cpuOf(w.pids)
	r.server = server - w.server
	return r, err
}

// figures fills the measurement in. The latencies are sorted. A window that was never read, because of an error, has none.
func (m *measurement) figures(r reading, operations int, latencies []time.Duration) {
	if r.took == 0 {
		return
	}
	m.Operations, m.Seconds = operations, r.took.Seconds()
	m.P50, m.P99, m.Max = milliseconds(percentile(latencies, 50)), milliseconds(percentile(latencies, 99)), milliseconds(percentile(latencies, 100))
	if operations > 0 {
		n := float64(operations)
		m.Rate, m.ServerCPU, m.LoadCPU = n/r.took.Seconds(), milliseconds(r.server)/n, milliseconds(r.load)/n
	}
}

package engine

import (
	"container/heap"

	"github.com/perdure/perdure/internal/clock"
)

// alarms calls functions at chosen moments; those of the same moment in the order in which they were set.
type alarms struct {
	heap  alarmHeap
	count int64
}

type alarm struct {
	at     clock.Nanos
	number int64
	do     func()
}

func (a *alarms) reset() { *a = alarms{} }

func (a *alarms) set(at clock.Nanos, do func()) {
	a.count++
	heap.Push(&a.heap, alarm{at, a.count, do})
}

// next is the moment of the first alarm; zero if there is none.
func (a *alarms) next() clock.Nanos {
	if len(a.heap) == 0 {
		return 0
	}
	return a.heap[0].at
}

func (a *alarms) ring(now clock.Nanos) {
	for len(a.heap) > 0 && a.heap[0].at <= now {
		heap.Pop(&a.heap).(alarm).do()
	}
}

type alarmHeap []alarm

func (h alarmHeap) Len() int { return len(h) }

func (h alarmHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].number < h[j].number
}

func (h alarmHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *alarmHeap) Push(v any) { *h = append(*h, v.(alarm)) }

func (h *alarmHeap) Pop() any {
	old := *h
	v := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*h = old[:len(old)-1]
	return v
}

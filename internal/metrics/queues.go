package metrics

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perdure/perdure/internal/ids"
	"github.com/perdure/perdure/internal/record"
	"github.com/perdure/perdure/internal/taskqueue"
)

const (
	maxQueues    = 1000            // shown in one scrape
	queuesWithin = 5 * time.Second // the listing is given up after
)

// Queues shows, at each scrape, how many tasks wait in the task queues that have any. It is a prometheus.Collector.
type Queues struct {
	list     func(context.Context) ([]taskqueue.QueueKey, error)
	describe func(taskqueue.QueueKey) taskqueue.Description
	nameOf   func(ids.NamespaceID) string
	log      *slog.Logger

	count, age *prometheus.Desc
}

// NewQueues makes the collector. list names the queues that have a backlog, describe shows one.
func NewQueues(
	list func(context.Context) ([]taskqueue.QueueKey, error), describe func(taskqueue.QueueKey) taskqueue.Description,
	nameOf func(ids.NamespaceID) string, log *slog.Logger,
) *Queues {
	labels := []string{"namespace", "taskqueue", "task_type"}
	matching := prometheus.Labels{"service_name": "matching"}
	return &Queues{
		list: list, describe: describe, nameOf: nameOf, log: log,
		count: prometheus.NewDesc("approximate_backlog_count",
			"Tasks that wait for a poller, in the first thousand queues that have any.", labels, matching),
		age: prometheus.NewDesc("approximate_backlog_age_seconds",
			"How long the oldest of them has been waiting.", labels, matching),
	}
}

// Describe implements prometheus.Collector.
func (q *Queues) Describe(c chan<- *prometheus.Desc) {
	c <- q.count
	c <- q.age
}

// Collect implements prometheus.Collector.
func (q *Queues) Collect(c chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), queuesWithin)
	defer cancel()
	keys, err := q.list(ctx)
	if err != nil {
		q.log.Warn("task queues could not be listed for a scrape", "error", err)
		return
	}
	for _, key := range keys[:min(len(keys), maxQueues)] {
		namespace, kind := q.nameOf(key.Namespace), "Workflow"
		if namespace == "" {
			continue // two such queues could have the same labels
		}
		if key.Type == record.QueueActivity {
			kind = "Activity"
		}
		stats := q.describe(key).Stats
		c <- prometheus.MustNewConstMetric(q.count, prometheus.GaugeValue,
			float64(stats.GetApproximateBacklogCount()), namespace, key.Name, kind)
		c <- prometheus.MustNewConstMetric(q.age, prometheus.GaugeValue,
			stats.GetApproximateBacklogAge().AsDuration().Seconds(), namespace, key.Name, kind)
	}
}

package worker

import (
	commandpb "go.temporal.io/api/command/v1"
)

// maxEager bounds the activities that one answer asks for: the others may run elsewhere.
const maxEager = 3

// askEager asks for activities that commands schedule and this worker can run at once, and holds a slot for each.
func (w *Worker) askEager(commands []*commandpb.Command) (reserved int) {
	if w.activitySlots == nil || w.o.DisableEagerActivities || w.stopping() {
		return 0
	}
	for _, c := range commands {
		a := c.GetScheduleActivityTaskCommandAttributes()
		if a == nil || a.TaskQueue.GetName() != w.queue {
			continue
		}
		if _, err := w.registry.function(a.ActivityType.GetName()); err != nil {
			continue
		}
		if reserved == maxEager || !w.activitySlots.tryTake() {
			return reserved
		}
		a.RequestEagerExecution = true
		reserved++
	}
	return reserved
}

// runEager runs what came, and gives back the other slots. The server may give none.
func (w *Worker) runEager(tasks []*activityTask, reserved int) {
	for i, t := range tasks {
		if i >= reserved {
			w.log.Error("the server gave more activities than were asked for", "activity_id", t.ActivityId)
			break // they time out
		}
		w.tasks.Add(1)
		go func() {
			defer w.tasks.Done()
			defer w.activitySlots.give()
			w.activityTask(t)
		}()
	}
	for range reserved - min(len(tasks), reserved) {
		w.activitySlots.give()
	}
}

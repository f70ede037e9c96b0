// Package matching pairs the tasks of one task queue with the pollers that wait for them: by priority, oldest first,
// no faster than a rate limit. It keeps a bounded window of the backlog and leaves the rest where it is stored.
//
// It is a core: no goroutine, no clock, no I/O; times are passed in, and a queue is not safe for concurrent use. The
// driver is internal/taskqueue.
//
// # The window
//
// Durable tasks have a stored row each, and a row's key. What lies in memory is a prefix of the rows in key order. Once
// there are more tasks than memory may hold, the queue is spilled and has a position, with this invariant:
//
//	Every row whose key the position covers, and that was offered, is in memory or was handed out.
//
// An offer beyond the position is therefore not kept: a page from the store will bring it, since offers are made only
// of rows that are durable. An offer within the position is kept; if memory is full, the last task in memory is
// forgotten and the position moves back before it. A queue that is new to this node starts with a position that
// covers nothing.
//
// A page is read while offers go on. A row that becomes durable behind the reader's back may be missing from the page,
// so offers beyond the position are held aside until the page is applied, and those that the page should have had are
// added to it. What cannot be held, and what is forgotten meanwhile, is remembered by its smallest key, to which the
// position then moves back. When a page reaches the end of the rows and nothing is missing, the queue is not spilled
// any more: every row is in memory, was handed out, or will be offered.
//
// A task can be handed out twice: its row may be paged in before its offer arrives, or stay in the store for a while
// after it was taken. That is harmless, as a task is only a hint; losing one is not.
package matching

// Package batch runs batch jobs: one operation, such as a signal, applied to many executions at a limited rate.
//
// Invariant: a job that was started is finished or stopped, whatever crashes, and its operation has an effect on each
// target once at most. A crash forgets the newest part of a job's progress, so some targets are worked on twice; the
// second time is seen for what it is by the request ID, which depends on nothing but the job and the target.
//
// The targets of a job are listed once, when it begins, and stored: what the operation does to the executions cannot
// change what it is done to, and a job that resumes goes on where it was. What listing and applying mean is the
// Executor's business: the frontend's, which does to a target what the RPC of that name would do.
//
// What a file holds: runner.go the jobs there are and the goroutines that run them, job.go the life of one job, rows.go
// what is in the store (docs/format/records.md), forget.go the end of closed jobs.
package batch

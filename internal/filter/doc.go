// Package filter is the visibility query language: it parses a query over search attributes, checks it against the
// types of the attributes it names, and decides whether a record matches.
//
// A query reads like the condition of an SQL WHERE clause:
//
//	WorkflowType = 'Order' AND (CloseTime IS NULL OR CloseTime > '2026-01-02T15:04:05Z') AND NOT Region IN ('eu', 'us')
//
// The work has three steps, each in its own file: the lexer and the parser turn text into a syntax tree without
// knowing any attribute; check resolves names, reads literals by type and refuses operators a type lacks; match
// evaluates the checked tree. plan.go tells a store what a query pins down, so that it can choose an index.
//
// The invariant: a query that Parse accepted matches or does not match any record, without error, and its text form
// (Query.String) parses again to a query with the same meaning. Conditions follow SQL's three-valued logic, in which
// a comparison with an unset attribute is neither true nor false.
//
// Left out on purpose: paging, the default order and the rule that hides records with a namespace division belong
// to the store, which asks Query.MentionsDivision; limits on the number and size of attributes belong to the writer.
package filter

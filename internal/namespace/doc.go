// Package namespace keeps the namespaces of a cluster with their custom search attributes, and the cluster's identity.
//
// Its invariant: a reader sees one immutable snapshot of the whole set, found without a lock, and nothing in it that the
// store could lose. Writes go one at a time under the fence of a shard of their own (Shard), so that of two processes
// that share a store neither overwrites what it has not read; a writer that was fenced, or whose outcome is unknown,
// takes a new epoch, reloads, and decides again.
//
// Namespaces are few and small (hundreds, kilobytes), so the whole set is in memory and each change copies the maps that
// find them. What runs inside a namespace is the engine's business: Delete only frees the name and tells whoever purges.
//
// The stored form is described in docs/format/namespaces.md.
package namespace

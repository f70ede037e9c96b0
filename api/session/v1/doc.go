// Package sessionpb is the wire format of sessions: see docs/adr/0014-session.md.
package sessionpb

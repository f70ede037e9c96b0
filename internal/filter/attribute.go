package filter

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
)

// Canonical names of attributes that this package or a planner treats by name.
const (
	WorkflowID        = "WorkflowId"
	RunID             = "RunId"
	WorkflowType      = "WorkflowType"
	ExecutionStatus   = "ExecutionStatus"
	ExecutionDuration = "ExecutionDuration"
	StartTime         = "StartTime"
	ExecutionTime     = "ExecutionTime"
	CloseTime         = "CloseTime"
	NamespaceDivision = "TemporalNamespaceDivision"

	// ScheduleID is no attribute of its own: a schedule's record has the workflow ID ScheduleIDPrefix + schedule ID.
	ScheduleID       = "ScheduleId"
	ScheduleIDPrefix = "temporal-sys-scheduler:"

	reservedPrefix = "Temporal"
)

// Origin tells who defines an attribute and who may set it.
type Origin uint8

const (
	// Custom attributes are defined per namespace and set by users.
	Custom Origin = iota
	// System attributes describe an execution; only the server sets them.
	System
	// Predefined attributes exist in every namespace and are set by SDKs, users or the server.
	Predefined
	// ServerOnly attributes exist in every namespace and only the server sets them.
	ServerOnly
)

// Attribute is what a name in a query stands for.
type Attribute struct {
	// Name is the canonical name, the one Record.Value is asked for.
	Name string
	Type enumspb.IndexedValueType
	// Origin is Custom unless said otherwise.
	Origin Origin
	// Prefix is put before every literal, for a Keyword stored with a prefix users do not write. Usually empty.
	Prefix string
	// Enum maps every accepted spelling, integers included, to the stored value. Nil accepts any Keyword.
	Enum map[string]string
	// Duration makes an Int count nanoseconds, so that literals may also be durations such as '1h30m' or '01:30:00'.
	Duration bool
	// Groupable allows GROUP BY; meant for attributes with few distinct values.
	Groupable bool
}

// Resolver finds the attribute with exactly the given name. Aliases common to all namespaces (ScheduleId, and names
// with or without the Temporal prefix) are Parse's business.
type Resolver func(name string) (Attribute, bool)

// First asks each resolver in turn: custom attributes before SystemAttribute, usually.
func First(resolvers ...Resolver) Resolver {
	return func(name string) (Attribute, bool) {
		for _, resolve := range resolvers {
			if a, ok := resolve(name); ok {
				return a, true
			}
		}
		return Attribute{}, false
	}
}

// SystemAttribute is the Resolver of the attributes every namespace has.
func SystemAttribute(name string) (Attribute, bool) {
	a, ok := systemAttributes[name]
	return a, ok
}

// SystemAttributes lists the attributes every namespace has, by name.
func SystemAttributes() []Attribute {
	return slices.SortedFunc(maps.Values(systemAttributes), func(a, b Attribute) int { return strings.Compare(a.Name, b.Name) })
}

// Reserved reports whether users may not define an attribute with this name.
func Reserved(name string) bool {
	switch name {
	case "NamespaceId", "Memo", "MemoEncoding", "VisibilityTaskKey":
		return true
	}
	_, taken := systemAttributes[name]
	return taken || strings.HasPrefix(name, reservedPrefix)
}

// lookup resolves a name as written in a query. Exact names win, so a namespace's own attribute hides an alias.
func lookup(resolve Resolver, name string) (Attribute, bool) {
	if a, ok := resolve(name); ok {
		return a, true
	}
	if name == ScheduleID {
		a, ok := resolve(WorkflowID)
		a.Prefix = ScheduleIDPrefix
		return a, ok
	}
	if short, ok := strings.CutPrefix(name, reservedPrefix); ok {
		return resolve(short)
	}
	return resolve(reservedPrefix + name)
}

// systemAttributes is never changed after initialisation.
var systemAttributes = buildSystemAttributes()

func buildSystemAttributes() map[string]Attribute {
	const (
		keyword  = enumspb.INDEXED_VALUE_TYPE_KEYWORD
		list     = enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST
		integer  = enumspb.INDEXED_VALUE_TYPE_INT
		boolean  = enumspb.INDEXED_VALUE_TYPE_BOOL
		datetime = enumspb.INDEXED_VALUE_TYPE_DATETIME
	)
	all := map[string]Attribute{}
	add := func(origin Origin, typ enumspb.IndexedValueType, names ...string) {
		for _, name := range names {
			all[name] = Attribute{Name: name, Type: typ, Origin: origin}
		}
	}
	add(System, keyword, WorkflowID, RunID, WorkflowType, ExecutionStatus, "TaskQueue",
		"ParentWorkflowId", "ParentRunId", "RootWorkflowId", "RootRunId")
	add(System, datetime, StartTime, ExecutionTime, CloseTime)
	add(System, integer, "HistoryLength", "HistorySizeBytes", ExecutionDuration, "StateTransitionCount")
	add(Predefined, list, "TemporalChangeVersion", "BinaryChecksums", "BuildIds", "TemporalPauseInfo", "TemporalReportedProblems")
	add(Predefined, keyword, "BatcherNamespace", "BatcherUser", "TemporalScheduledById", NamespaceDivision)
	add(Predefined, datetime, "TemporalScheduledStartTime")
	add(Predefined, boolean, "TemporalSchedulePaused")
	add(ServerOnly, keyword, "TemporalWorkerDeployment", "TemporalWorkerDeploymentVersion", "TemporalWorkflowVersioningBehavior")
	add(ServerOnly, list, "TemporalUsedWorkerDeploymentVersions")
	add(ServerOnly, integer, "TemporalExternalPayloadCount", "TemporalExternalPayloadSizeBytes")

	adjust := func(name string, change func(*Attribute)) {
		a := all[name]
		change(&a)
		all[name] = a
	}
	adjust(ExecutionStatus, func(a *Attribute) { a.Enum, a.Groupable = workflowStatuses(), true })
	adjust(ExecutionDuration, func(a *Attribute) { a.Duration = true })
	adjust(NamespaceDivision, func(a *Attribute) { a.Groupable = true })
	return all
}

// workflowStatuses accepts a status by its short name, its proto name and its number.
func workflowStatuses() map[string]string {
	spellings := map[string]string{}
	for proto, n := range enumspb.WorkflowExecutionStatus_value {
		if n == int32(enumspb.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED) {
			continue
		}
		short := enumspb.WorkflowExecutionStatus(n).String()
		spellings[short], spellings[proto], spellings[strconv.Itoa(int(n))] = short, short, short
	}
	return spellings
}

package namespace

import (
	"context"
	"maps"
	"slices"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perdure/perdure/internal/execution"
	"github.com/perdure/perdure/internal/filter"
	"github.com/perdure/perdure/internal/ids"
)

// Bounds of search attributes.
const (
	// MaxAttributes is how many custom search attributes of each type a namespace can have.
	MaxAttributes = 100

	maxAttributeName = 1000     // bytes
	maxKeys          = 100      // attributes of one request
	maxValue         = 2 << 10  // bytes of one value
	maxTotal         = 40 << 10 // bytes of all attributes of one request, names included

	metadataType = "type"
)

func validType(typ enumspb.IndexedValueType) bool {
	return typ >= enumspb.INDEXED_VALUE_TYPE_TEXT && typ <= enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST
}

// AddSearchAttributes defines attributes; those that exist stay as they are, whatever their type. Writes that come
// after it returns can use them. Errors: NotFound, InvalidArgument.
func (r *Registry) AddSearchAttributes(ctx context.Context, name string, types map[string]enumspb.IndexedValueType) error {
	return r.editAttributes(ctx, name, func(info *Info) (bool, error) { return addAttributes(info, types) })
}

// RemoveSearchAttributes undefines attributes; unknown names are fine. Stored values are no longer shown; should the
// name be defined again, those that fit the new type are. Errors: NotFound, InvalidArgument.
func (r *Registry) RemoveSearchAttributes(ctx context.Context, name string, names []string) error {
	return r.editAttributes(ctx, name, func(info *Info) (bool, error) {
		if fixed := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !isSystem(n) }); len(fixed) > 0 {
			return false, invalid("Unable to remove non-custom search attributes: %s.", strings.Join(fixed, ", "))
		}
		before := len(info.Attributes)
		for _, n := range names {
			delete(info.Attributes, n)
		}
		return len(info.Attributes) != before, nil
	})
}

func (r *Registry) editAttributes(ctx context.Context, name string, change func(*Info) (bool, error)) error {
	return r.write(ctx, func(s *snapshot) (*edit, error) {
		n, ok := s.byName[name]
		if !ok {
			return nil, NotFound(name)
		}
		info := n.Info.clone()
		switch changed, err := change(info); {
		case err != nil:
			return nil, err
		case !changed:
			return new(edit), nil
		}
		return &edit{put: []*Info{info}}, nil
	})
}

// addAttributes changes info, which must be a clone, and tells whether it did.
func addAttributes(info *Info, types map[string]enumspb.IndexedValueType) (changed bool, err error) {
	count := make(map[enumspb.IndexedValueType]int)
	for _, typ := range info.Attributes {
		count[typ]++
	}
	for _, name := range slices.Sorted(maps.Keys(types)) {
		typ := types[name]
		switch {
		case name == "":
			return false, invalid("Search attribute name is empty.")
		case len(name) > maxAttributeName:
			return false, invalid("Search attribute name length exceeds limit.")
		case filter.Reserved(name):
			return false, invalid("Search attribute %s is reserved by system.", name)
		case !validType(typ):
			return false, invalid("Search attribute %s has no valid type.", name)
		}
		if _, exists := info.Attributes[name]; exists {
			continue
		}
		if count[typ]++; count[typ] > MaxAttributes {
			return false, invalid("Unable to create search attributes: cannot have more than %d search attribute of type %s.",
				MaxAttributes, typ)
		}
		if info.Attributes == nil {
			info.Attributes = make(map[string]enumspb.IndexedValueType)
		}
		info.Attributes[name], changed = typ, true
	}
	return changed, nil
}

func isSystem(name string) bool {
	_, ok := filter.SystemAttribute(name)
	return ok
}

// SystemSearchAttributes are the types of the attributes that all namespaces have: the system's and the predefined. The
// map is the caller's.
func SystemSearchAttributes() map[string]enumspb.IndexedValueType {
	types := make(map[string]enumspb.IndexedValueType)
	for _, a := range filter.SystemAttributes() {
		types[a.Name] = a.Type
	}
	return types
}

// AllSearchAttributes are the attributes of all namespaces by name. Where namespaces disagree on the type, the first of
// them by name wins. The map is the caller's.
func (r *Registry) AllSearchAttributes() map[string]enumspb.IndexedValueType {
	types := SystemSearchAttributes()
	for _, n := range r.current.Load().sorted {
		for name, typ := range n.Attributes {
			if _, known := types[name]; !known && n.State != enumspb.NAMESPACE_STATE_DELETED {
				types[name] = typ
			}
		}
	}
	return types
}

// Attribute resolves the names of search attributes, the namespace's own first: a filter.Resolver.
func (n *Namespace) Attribute(name string) (filter.Attribute, bool) {
	if typ, ok := n.Attributes[name]; ok {
		return filter.Attribute{Name: name, Type: typ, Groupable: false}, true
	}
	return filter.SystemAttribute(name)
}

// Resolver resolves the names of a namespace's search attributes as they are defined at the moment of each call.
func (r *Registry) Resolver(id ids.NamespaceID) filter.Resolver {
	return func(name string) (filter.Attribute, bool) {
		n, ok := r.current.Load().byID[id]
		if !ok {
			return filter.SystemAttribute(name)
		}
		return n.Attribute(name)
	}
}

// checkSearchAttributes is execution.Namespace.CheckSearchAttributes. It does not change sa; payloads that need no
// change are shared with it. Its errors are InvalidArgument.
func (n *Namespace) checkSearchAttributes(sa *commonpb.SearchAttributes) (*commonpb.SearchAttributes, error) {
	fields := sa.GetIndexedFields()
	if len(fields) == 0 {
		return sa, nil
	}
	if len(fields) > maxKeys {
		return nil, invalid("number of search attributes %d exceeds limit %d", len(fields), maxKeys)
	}
	out := &commonpb.SearchAttributes{IndexedFields: make(map[string]*commonpb.Payload, len(fields))}
	for _, name := range slices.Sorted(maps.Keys(fields)) { // the same error for the same request
		p, err := n.checkAttribute(name, fields[name])
		if err != nil {
			return nil, err
		}
		out.IndexedFields[name] = p
	}
	if size := proto.Size(out); size > maxTotal {
		return nil, invalid("total size of search attributes %d exceeds size limit %d", size, maxTotal)
	}
	return out, nil
}

func (n *Namespace) checkAttribute(name string, p *commonpb.Payload) (*commonpb.Payload, error) {
	a, ok := n.Attribute(name)
	switch {
	case !ok:
		return nil, invalid("Namespace %s has no mapping defined for search attribute %s", n.Name, name)
	case a.Origin == filter.System || a.Origin == filter.ServerOnly:
		return nil, invalid("%s attribute can't be set in SearchAttributes", name)
	case len(p.GetData()) > maxValue:
		return nil, invalid("search attribute %s value size %d exceeds size limit %d", name, len(p.GetData()), maxValue)
	}
	v, err := filter.DecodeValue(p, a.Type)
	if err != nil {
		reason := &filter.ValueError{Attribute: name, Type: a.Type.String(), Reason: err}
		return nil, &execution.Error{Kind: execution.InvalidArgument, Message: reason.Error()}
	}
	if v.IsNull() {
		return p, nil
	}
	return typed(p, a.Type), nil
}

// typed is p with its type in the metadata.
func typed(p *commonpb.Payload, typ enumspb.IndexedValueType) *commonpb.Payload {
	if string(p.GetMetadata()[metadataType]) == typ.String() {
		return p
	}
	metadata := maps.Clone(p.GetMetadata())
	metadata[metadataType] = []byte(typ.String()) // not nil: a value has an encoding
	return &commonpb.Payload{Metadata: metadata, Data: p.GetData(), ExternalPayloads: p.GetExternalPayloads()}
}

// ReadSearchAttributes is what clients are shown of stored attributes: those that are defined now, not null, and fit
// their type, which is put into the metadata. It does not change sa and returns nil when nothing is left.
func (n *Namespace) ReadSearchAttributes(sa *commonpb.SearchAttributes) *commonpb.SearchAttributes {
	out := make(map[string]*commonpb.Payload, len(sa.GetIndexedFields()))
	for name, p := range sa.GetIndexedFields() {
		a, ok := n.Attribute(name)
		if !ok {
			continue
		}
		if v, err := filter.DecodeValue(p, a.Type); err == nil && !v.IsNull() {
			out[name] = typed(p, a.Type)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return &commonpb.SearchAttributes{IndexedFields: out}
}

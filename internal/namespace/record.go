package namespace

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"

	"github.com/perdure/perdure/internal/clock"
	"github.com/perdure/perdure/internal/ids"
)

// Info is what is stored of a namespace. Its maps are shared by all readers and must not be changed. The tags are part
// of the format: a new field needs a new version, since a program that does not know it would drop it.
type Info struct {
	ID          ids.NamespaceID        `cbor:"1,keyasint"`
	Name        string                 `cbor:"2,keyasint"`
	State       enumspb.NamespaceState `cbor:"3,keyasint"`
	Description string                 `cbor:"4,keyasint,omitempty"`
	OwnerEmail  string                 `cbor:"5,keyasint,omitempty"`
	Data        map[string]string      `cbor:"6,keyasint,omitempty"` // users' own keys and values
	// Retention is how long closed runs are kept: MinRetention to MaxRetention.
	Retention   time.Duration        `cbor:"7,keyasint"`
	BadBinaries map[string]BadBinary `cbor:"8,keyasint,omitempty"` // by checksum
	// Attributes are the custom search attributes by name.
	Attributes map[string]enumspb.IndexedValueType `cbor:"9,keyasint,omitempty"`
	Created    clock.Nanos                         `cbor:"10,keyasint"`
	// ForgetAfter is when a deleted namespace's record may go; zero unless deleted.
	ForgetAfter clock.Nanos `cbor:"11,keyasint,omitempty"`
}

// BadBinary marks a worker binary as broken. It is kept and shown; nothing here acts on it.
type BadBinary struct {
	Reason   string      `cbor:"1,keyasint,omitempty"`
	Operator string      `cbor:"2,keyasint,omitempty"`
	Created  clock.Nanos `cbor:"3,keyasint"`
}

// clone is a copy whose maps may be changed.
func (i *Info) clone() *Info {
	c := *i
	c.Data, c.BadBinaries, c.Attributes = maps.Clone(i.Data), maps.Clone(i.BadBinaries), maps.Clone(i.Attributes)
	return &c
}

// check holds before encoding and after decoding.
func (i *Info) check() error {
	switch _, known := enumspb.NamespaceState_name[int32(i.State)]; {
	case uuid.Validate(string(i.ID)) != nil:
		return fmt.Errorf("ID %q is not a UUID", i.ID)
	case i.Name == "":
		return errors.New("no name")
	case !known || i.State == enumspb.NAMESPACE_STATE_UNSPECIFIED:
		return fmt.Errorf("state %d", i.State)
	case i.Retention < MinRetention || i.Retention > MaxRetention:
		return fmt.Errorf("retention %s", i.Retention)
	}
	for name, typ := range i.Attributes {
		if name == "" || !validType(typ) {
			return fmt.Errorf("search attribute %q of type %d", name, typ)
		}
	}
	return nil
}

// version is the first byte of every stored namespace.
const version = 1

var encoder = must(cbor.CoreDetEncOptions().EncMode())

var decoder = must(cbor.DecOptions{
	MaxMapPairs:       1 << 20,
	DupMapKey:         cbor.DupMapKeyEnforcedAPF,
	ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
}.DecMode())

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options are constants
	}
	return v
}

func encode(i *Info) ([]byte, error) {
	if err := i.check(); err != nil {
		return nil, fmt.Errorf("encode namespace %s: %w", i.ID, err)
	}
	b, err := encoder.Marshal(i)
	if err != nil {
		return nil, fmt.Errorf("encode namespace %s: %w", i.ID, err)
	}
	return append([]byte{version}, b...), nil
}

func decode(b []byte) (*Info, error) {
	if len(b) == 0 || b[0] != version {
		return nil, fmt.Errorf("version %x of a namespace is not known here: was it written by a newer program?", b[:min(len(b), 1)])
	}
	i := new(Info)
	if err := decoder.Unmarshal(b[1:], i); err != nil {
		return nil, fmt.Errorf("decode namespace: %w", err)
	}
	if err := i.check(); err != nil {
		return nil, fmt.Errorf("decode namespace %s: %w", i.ID, err)
	}
	return i, nil
}

package flow

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/perdure/perdure/internal/handlers"
)

// querySchema is the built-in query whose answer is a Schema.
const querySchema = "__perdure_schema"

// Schema says what a workflow type takes and gives, as JSON Schemas, so that tools can offer forms and check values.
type Schema struct {
	Type    string                   `json:"type"`
	Run     *MessageSchema           `json:"run"`
	Signals map[string]MessageSchema `json:"signals,omitempty"`
	Queries map[string]MessageSchema `json:"queries,omitempty"`
	Updates map[string]MessageSchema `json:"updates,omitempty"`
	// Dynamic lists the kinds for which any other name is taken, too.
	Dynamic []string `json:"dynamic,omitempty"`
}

// MessageSchema is that of one message. A type of which no schema can be made, such as one with an encoding of its own, is {}.
type MessageSchema struct {
	Description string            `json:"description,omitempty"`
	Arguments   []json.RawMessage `json:"arguments,omitempty"`
	Result      json.RawMessage   `json:"result,omitempty"`
}

var schemas sync.Map // *handlers.Definition -> *Schema

func schemaOf(d *handlers.Definition, name string) *Schema {
	if s, ok := schemas.Load(d); ok {
		return s.(*Schema)
	}
	run := messageSchema(d.Run)
	s := &Schema{Type: name, Run: &run, Signals: all(d.Signals), Queries: all(d.Queries), Updates: all(d.Updates)}
	for kind, h := range map[string]*handlers.Handler{"signal": d.DynamicSignal, "query": d.DynamicQuery, "update": d.DynamicUpdate} {
		if h != nil {
			s.Dynamic = append(s.Dynamic, kind)
		}
	}
	slices.Sort(s.Dynamic)
	if d.Dynamic {
		return s // it goes by many names
	}
	schemas.Store(d, s)
	return s
}

func all(named map[string]*handlers.Handler) map[string]MessageSchema {
	m := make(map[string]MessageSchema, len(named))
	for name, h := range named {
		m[name] = messageSchema(h)
	}
	return m
}

func messageSchema(h *handlers.Handler) MessageSchema {
	s := MessageSchema{Description: h.Description}
	for _, t := range h.Params {
		s.Arguments = append(s.Arguments, typeSchema(t))
	}
	if h.Result != nil {
		s.Result = typeSchema(h.Result)
	}
	return s
}

func typeSchema(t reflect.Type) json.RawMessage {
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{IgnoreInvalidTypes: true})
	if err != nil || s == nil {
		return json.RawMessage("{}")
	}
	b, err := json.Marshal(s)
	if err != nil {
		return json.RawMessage("{}")
	}
	return b
}

// signature is how a message looks to who calls it, "Approve(Approval) Receipt"; empty when there is nothing to tell.
func signature(name string, h *handlers.Handler) string {
	if h.Dynamic || len(h.Params) == 0 && h.Result == nil {
		return ""
	}
	var params []string
	for _, t := range h.Params {
		params = append(params, t.String())
	}
	s := name + "(" + strings.Join(params, ", ") + ")"
	if h.Result != nil {
		s += " " + h.Result.String()
	}
	return s
}

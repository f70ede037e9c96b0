package main

import (
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
)

// several are the arguments of one signal, any number of them. This SDK sends and takes exactly one, an absent one as a
// null; other SDKs do not. With severalConverter the one Go value stands for all payloads.
type several []any

// into decodes the arguments of a signal that came in.
func (s several) into(targets ...any) error {
	if len(s) != len(targets) {
		return fmt.Errorf("%d arguments, want %d", len(s), len(targets))
	}
	for i, target := range targets {
		if err := converter.GetDefaultDataConverter().FromPayload(s[i].(*commonpb.Payload), target); err != nil {
			return err
		}
	}
	return nil
}

// severalConverter is the default data converter but for several: it takes it apart, and puts payloads into it as they are.
type severalConverter struct{ converter.DataConverter }

func (c severalConverter) ToPayloads(values ...any) (*commonpb.Payloads, error) {
	if len(values) == 1 {
		if args, ok := values[0].(several); ok {
			return c.DataConverter.ToPayloads(args...)
		}
	}
	return c.DataConverter.ToPayloads(values...)
}

func (c severalConverter) FromPayloads(payloads *commonpb.Payloads, targets ...any) error {
	if len(targets) == 1 {
		if args, ok := targets[0].(*several); ok {
			for _, payload := range payloads.GetPayloads() {
				*args = append(*args, payload)
			}
			return nil
		}
	}
	return c.DataConverter.FromPayloads(payloads, targets...)
}
